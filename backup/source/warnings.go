package source

// maxWarnings keeps a manifest small.
const maxWarnings = 20
