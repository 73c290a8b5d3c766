// Package promotions is how this instance is made the active: what would keep a promotion
// from working and what it would lose (Preflight), the request to the machine (Promote), and
// how far one is (Promotion, WaitPromotion). The machine of package ha makes it.
//
// A request keeps one shape from the API to here (PromotionRequest); the context says who
// asks (event.Actor).
package promotions
