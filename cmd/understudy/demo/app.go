package demo

// AppCommand is how this program becomes the demo's application.
var AppCommand = []string{"demo", "app"}

// exitNotRunning is how AppCommand ends where the application was to run, and does not.
const exitNotRunning = 3
