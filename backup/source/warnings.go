package source

// MaxWarnings keeps a manifest small.
const MaxWarnings = 20
