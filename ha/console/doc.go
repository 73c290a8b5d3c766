// Package console is the pages by which people look at an instance and run a
// cluster: static files, embedded, that fetch the API of package api. There is
// no build step, and nothing is loaded from elsewhere.
//
// index.html begins the console of a running agent (app.js and a module for
// each page), setup.html the first-run set-up (setup.js). What both share:
//
//	dom.js     elements, dialogs and sizes as people read them
//	clock.js   times, in the reader's zone or in UTC, and how long ago
//	api.js     calls of the API, and the end of a session
//	plot.js    line plots with a text alternative, on the scales of scale.js
//	style.css  light and dark, from 360 pixels on
//
// The overview is made of parts: answer.js (who could take over, losing what),
// what to do next, recovery.js (the age of the newest recoverable state),
// cards.js (instances), salvage.js (the last promotion) and protection.js (what
// is protected). The backups have windows.js (the moments that can be restored) beside
// them. Make Active is promote.js (choose), promotion.js (follow, to
// the end) and stepper.js (its stages); backup.js, diff.js and restore.js say
// of backups what several pages do. state.js has what a status means. The pages
// of docs/ are served as help, rendered by help.go; templates/ has YAML files
// for the set-up to show.
package console
