// Package api puts HTTP on an agent: the admin API, health checks for load
// balancers, and metrics. It decides nothing: whether something is allowed in
// this role, or safe now, is the agent's to say, and a refusal is answered
// with 409 and its reason.
//
// # Two ways in
//
// Over TCP a request needs the admin token ("Authorization: Bearer …"), but
// for health, /leader, /metrics and signed notifications. Without a configured
// token everything else is forbidden there. Over the socket in the data folder
// (mode 0600) everything is allowed: the file system has already said who may.
// What is done is recorded as done by "token", or by "socket (uid N name)".
//
// # Answers
//
// Answers are JSON. What is no success is an RFC 9457 problem document
// (application/problem+json): 400 and 422 for a request that is wrong in
// itself, 401 and 403 for who asks, 404, 409 for a refusal (nothing has
// changed), 413, and 503 when the bucket or the key cannot be used.
//
// /api/v1/events and /api/v1/promotions/{id} are streams of server-sent events
// for those who accept text/event-stream. The first sends one unnamed event
// for each of the agent's, whose id a client may come back with in
// Last-Event-ID. The second sends "step" (ha.Step) for each step of the
// promotion, "status" (promotions.PromotionStatus) when anything else about it
// changes, and "end" (promotions.PromotionStatus), and then ends. Comments keep
// idle streams alive.
//
// GET /api/v1/openapi.json describes everything (OpenAPI 3.1). It is generated
// from the code that serves it.
package api
