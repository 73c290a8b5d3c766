package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Keys that a person without a mouse uses.
const (
	Tab       = kb.Tab
	Enter     = kb.Enter
	ArrowDown = kb.ArrowDown
	ArrowUp   = kb.ArrowUp
)

// Screen is what a browser is looked at on.
type Screen struct {
	Width, Height int
	Dark          bool
}

// Screens that pages must fit.
var (
	Desktop    = Screen{Width: 1280, Height: 900}
	Night      = Screen{Width: 1280, Height: 900, Dark: true}
	Phone      = Screen{Width: 360, Height: 740}
	NightPhone = Screen{Width: 360, Height: 740, Dark: true}
)

// Browser is a window of a real, headless Chromium, used as people use it: what
// is clicked and typed into is found by what it is called. It fails the test
// when something is not there within a while, or when a page has an error.
type Browser struct {
	tb  testing.TB
	ctx context.Context

	mu     sync.Mutex
	errors []string
}

// browserPatience bounds the wait for something to appear.
const browserPatience = 90 * time.Second

// OpenBrowser opens a window of its own for one test.
func OpenBrowser(tb testing.TB, screen Screen) *Browser {
	tb.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(tb.TempDir()), chromedp.WSURLReadTimeout(startTimeout))
	ctx, cancelBrowser := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &Browser{tb: tb, ctx: ctx}
	tb.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			tb.Errorf("close the browser: %v", err)
		}
		cancel()
		cancelBrowser()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, text := range b.errors {
			tb.Errorf("a page had an error: %s", text)
		}
	})
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		tb.Fatalf("start Chromium: %v", err)
	}
	b.Use(screen)
	return b
}

// listen notes what a script has thrown, and what the content policy stopped.
func (b *Browser) listen(ev any) {
	thrown, ok := ev.(*cdpruntime.EventExceptionThrown)
	if !ok || thrown.ExceptionDetails == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	text := thrown.ExceptionDetails.Text
	if e := thrown.ExceptionDetails.Exception; e != nil {
		text += " " + e.Description
	}
	b.errors = append(b.errors, text)
}

func (b *Browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.tb.Fatalf("browser: %s: %v", what, err)
	}
}

// Use changes the screen.
func (b *Browser) Use(s Screen) {
	b.tb.Helper()
	scheme := "light"
	if s.Dark {
		scheme = "dark"
	}
	b.do("set the screen", chromedp.EmulateViewport(int64(s.Width), int64(s.Height)))
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}); err != nil {
		b.tb.Fatalf("browser: set the colour scheme: %v", err)
	}
}

// Open goes to a page.
func (b *Browser) Open(url string) {
	b.tb.Helper()
	b.do("open "+url, chromedp.Navigate(url))
}

// Eval runs a script in the page.
func Eval[T any](b *Browser, script string) T {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.tb.Fatalf("browser: run %s: %v", script[:min(len(script), 200)], err)
	}
	return v
}

// Text is all that a person sees on the page.
func (b *Browser) Text() string {
	b.tb.Helper()
	return Eval[string](b, `document.querySelector("dialog[open]")?.innerText ?? document.body?.innerText ?? ""`)
}

// WaitFor waits for a condition of the page.
func (b *Browser) WaitFor(what, condition string) {
	b.tb.Helper()
	deadline := time.NewTimer(browserPatience)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !Eval[bool](b, "Boolean("+condition+")") {
		select {
		case <-tick.C:
		case <-deadline.C:
			b.tb.Fatalf("browser: not within %v: %s; the page says:\n%s", browserPatience, what, b.Text())
		}
	}
}

// See waits until a person can read each text.
func (b *Browser) See(texts ...string) {
	b.tb.Helper()
	for _, text := range texts {
		b.WaitFor("see "+text, `(document.querySelector("dialog[open]")?.innerText ?? document.body?.innerText ?? "").includes(`+quote(text)+`)`)
	}
}

// named finds what is called by a name: buttons, links and summaries by their
// text, and controls by their label. In a dialog it looks there alone.
const named = `((name) => {
  const root = document.querySelector("dialog[open]") ?? document;
  const shown = (e) => e.checkVisibility({ visibilityProperty: true });
  const said = (e) => (e.getAttribute("aria-label") ?? e.innerText ?? "").trim().replace(/\s+/g, " ");
  for (const e of root.querySelectorAll("button, a[href], summary")) if (shown(e) && said(e) === name) return e;
  for (const l of root.querySelectorAll("label")) {
    const text = (l.querySelector("strong") ?? l).innerText.trim();
    if (shown(l) && (text === name || l.innerText.trim().startsWith(name))) return document.getElementById(l.htmlFor);
  }
  return null;
})`

func quote(text string) string {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // of a string
	}
	return string(raw)
}

// Click clicks what is called by a name.
func (b *Browser) Click(name string) {
	b.tb.Helper()
	find := named + "(" + quote(name) + ")"
	b.WaitFor("find "+name, find)
	at := Eval[[]float64](b, `(() => { const e = `+find+`; e.scrollIntoView({ block: "center", behavior: "instant" }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	b.do("click "+name, chromedp.MouseClickXY(at[0], at[1]))
}

// Fill types a text into the control with this label, in place of what it has.
func (b *Browser) Fill(label, text string) {
	b.tb.Helper()
	b.Click(label)
	Eval[chromedp.Void](b, `document.activeElement.select?.()`)
	b.Type(text)
	Eval[chromedp.Void](b, `document.activeElement.dispatchEvent(new Event("change", { bubbles: true }))`)
}

// Type types a text where the focus is.
func (b *Browser) Type(text string) {
	b.tb.Helper()
	if _, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.tb.Fatalf("browser: type: %v", err)
	}
}

// Value is what the control with this label holds.
func (b *Browser) Value(label string) string {
	b.tb.Helper()
	return Eval[string](b, named+"("+quote(label)+").value")
}

// Press presses a key.
func (b *Browser) Press(key string) {
	b.tb.Helper()
	b.do("press a key", chromedp.KeyEvent(key))
}

// Focused is what the focus is on, as it is called.
func (b *Browser) Focused() string {
	b.tb.Helper()
	return Eval[string](b, `((e) => (e.getAttribute("aria-label") || (e.labels?.[0]?.querySelector("strong") ?? e.labels?.[0])?.innerText || e.innerText || e.tagName).trim().replace(/\s+/g, " "))(document.activeElement)`)
}

// TabTo presses Tab until the focus is on what is called by this name, and
// fails when the focus cannot be seen there.
func (b *Browser) TabTo(name string) {
	b.tb.Helper()
	var passed []string
	for range 150 {
		b.Press(Tab)
		at := b.Focused()
		if at == name || strings.HasPrefix(at, name) {
			if !Eval[bool](b, `(() => { const e = document.activeElement, s = getComputedStyle(e); return e.matches(":focus-visible") && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`) {
				b.tb.Errorf("the focus cannot be seen on %s", name)
			}
			return
		}
		passed = append(passed, at)
	}
	b.tb.Fatalf("browser: the keyboard does not reach %s; it reached %q", name, passed)
}

// Shoot keeps a picture of the whole page below e2e/out.
func (b *Browser) Shoot(name string) {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserPatience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.tb.Fatalf("browser: take a picture: %v", err)
	}
	dir, err := findFolder(filepath.Join("e2e", "out", "console"))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		b.tb.Errorf("keep the picture %s: %v", name, err)
	}
}

// FitsWidth fails when the page is wider than the screen.
func (b *Browser) FitsWidth(name string) {
	b.tb.Helper()
	if wide := Eval[[]string](b, `document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility()).slice(0, 5).map((e) => e.outerHTML.slice(0, 120))`); len(wide) > 0 {
		b.tb.Errorf("%s is wider than the screen: %q", name, wide)
	}
}

// axeScript is axe-core, the checker of accessibility.
const axeScript = "e2e/tools/axe/node_modules/axe-core/axe.min.js"

// Accessible fails when axe-core finds something serious or critical on the
// page as it is.
func (b *Browser) Accessible(name string) {
	b.tb.Helper()
	if !Eval[bool](b, `typeof axe === "object"`) {
		path, err := findFolder(axeScript)
		if err != nil {
			b.tb.Fatal(err)
		}
		script, err := os.ReadFile(path)
		if err != nil {
			b.tb.Fatalf("read axe-core: %v: %v", err, errMissing)
		}
		Eval[chromedp.Void](b, string(script))
	}
	type finding struct {
		ID, Impact, Help string
		Nodes            []string
	}
	found := Eval[[]finding](b, `axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => ({ ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + (n.any[0]?.message ?? "")) })))`)
	for _, f := range found {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.tb.Errorf("%s: %s: %s (%s): %q", name, f.Impact, f.Help, f.ID, f.Nodes)
		}
	}
}

// findFolder gives a path from the top of the repository.
func findFolder(path string) (string, error) {
	top, err := findTop()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return filepath.Join(top, path), nil
}
