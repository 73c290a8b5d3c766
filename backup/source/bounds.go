package source

// MaxWarnings bounds how much of one kind an entry says: it keeps a manifest small.
const MaxWarnings = 20

// MaxNamed is how many things a message names.
const MaxNamed = 5
