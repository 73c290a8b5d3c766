package agent

// webhook is a URL that is told of events, as it is kept in secrets.
type webhook struct {
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Secret string   `json:"secret"`           // whsec_…
	Kinds  []string `json:"kinds,omitempty"`  // none: all
	Levels []string `json:"levels,omitempty"` // none: all
}
