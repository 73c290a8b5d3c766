package source

// A swap renames. What refuses that is looked for before anything is begun, as
// nobody has time for it in the midst of a promotion.

// MaxNamed is how many things a message names.
const MaxNamed = 5
