package settings

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// The syntax is that of systemd.exec(5), EnvironmentFile=.
func TestAnEnvironmentFileIsReadAsSystemdDoes(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want map[string]string
	}{
		"plain":                        {"A=b\nC=d\n", map[string]string{"A": "b", "C": "d"}},
		"no end of the last line":      {"A=b", map[string]string{"A": "b"}},
		"comments":                     {"# A=1\n; B=2\n\n  \t# C=3\nD=4\n", map[string]string{"D": "4"}},
		"a comment goes on in no line": {"# A=1 \\\nB=2\n", map[string]string{"B": "2"}},
		"no comment behind a value":    {"A=b # c\n", map[string]string{"A": "b # c"}},
		"blanks around":                {"  A =  b  c \t\r\nD=e\r\n", map[string]string{"A": "b  c", "D": "e"}},
		"empty":                        {"A=\nB=''\n", map[string]string{"A": "", "B": ""}},
		"a URL":                        {"A=s3://b/p?region=eu&endpoint=http://h:1#x\n", map[string]string{"A": "s3://b/p?region=eu&endpoint=http://h:1#x"}},
		"backslashes":                  {`A=a\ b\\c\"d\$e` + "\n", map[string]string{"A": `a b\c"d$e`}},
		"a line goes on":               {"A=a\\\nb \\\n c\nB=d\n", map[string]string{"A": "ab  c", "B": "d"}},
		"single quotes":                {`A='a "b" \n $c'` + "\nB= 'x y ' \n", map[string]string{"A": `a "b" \n $c`, "B": "x y "}},
		"over several lines":           {"A='a\nB=b'\nC=\"d\ne\"\n", map[string]string{"A": "a\nB=b", "C": "d\ne"}},
		"double quotes":                {`A="a \"b\" \\ \$ \` + "`" + ` \n"` + "\n", map[string]string{"A": `a "b" \ $ ` + "`" + ` \n`}},
		"a quoted line goes on":        {"A=\"a\\\nb\"\n", map[string]string{"A": "ab"}},
		"quotes inside":                {`A=a"b"'c'` + "\n", map[string]string{"A": `a"b"'c'`}},
		"quotes side by side":          {`A="a" 'b' c` + "\n", map[string]string{"A": "abc"}},
		"quotes that do not end":       {"A='a\nB=b\n", map[string]string{"A": "a\nB=b\n"}},
		"no assignment":                {"hello\n=a\n1A=b\nexport B=c\nD=e\n", map[string]string{"D": "e"}},
		"the last counts":              {"A=1\nA=2\n", map[string]string{"A": "2"}},
		"trailing escaped blank":       {"A=a\\ \nB=b\n", map[string]string{"A": "a ", "B": "b"}},
	} {
		got := map[string]string{}
		for _, a := range ParseEnvironment(tt.text) {
			got[a.Name] = a.Value
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	all := ParseEnvironment("# one\n\nA='x\ny'\nB=\\\nz\nC=1\n")
	if lines := []int{all[0].Line, all[1].Line, all[2].Line}; !slices.Equal(lines, []int{3, 5, 7}) {
		t.Errorf("lines %v", lines)
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("A='x\ny'\nB=\\\nz\n# c\nC=\"\\\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range ParseEnvironment(text) {
			if !variableName.MatchString(a.Name) || a.Line < 1 || a.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%+v of %q", a, text)
			}
		}
	})
}

// environmentFile writes a file, and reads the settings with it as the one of the host.
func environmentFile(t *testing.T, text string) (path string, read func(env map[string]string, args ...string) (*Host, error)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "environment")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func(env map[string]string, args ...string) (*Host, error) {
		f := pflag.NewFlagSet("test", pflag.ContinueOnError)
		Register(f)
		if err := f.Parse(args); err != nil {
			t.Fatal(err)
		}
		lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
		file, err := FindEnvironment(f, lookup, path)
		if err != nil {
			return nil, err
		}
		return Read(f, lookup, file)
	}
}

func TestTheFileComesAfterFlagAndVariable(t *testing.T) {
	_, read := environmentFile(t, "UNDERSTUDY_POLL=4s\nUNDERSTUDY_LISTEN=:1\nUNDERSTUDY_URL='http://file'\nUNDERSTUDY_BUCKET=file:///b\n")
	s, err := read(map[string]string{"UNDERSTUDY_POLL": "3s", "UNDERSTUDY_LISTEN": ":2", "UNDERSTUDY_BUCKET": ""}, "--poll=1s")
	if err != nil {
		t.Fatal(err)
	}
	if s.Poll != time.Second || s.Listen != ":2" || s.URL != "http://file" || s.Bucket != "" || !s.Given("url") {
		t.Errorf("settings %+v", s)
	}
	for name, args := range map[string][]string{"none": {"--environment-file=none"}, "empty": {"--environment-file="}} {
		if s, err := read(nil, args...); err != nil || s.URL != "" {
			t.Errorf("%s: %+v: %v", name, s, err)
		}
	}
	if s, err := read(map[string]string{"UNDERSTUDY_ENVIRONMENT_FILE": ""}); err != nil || s.URL != "" {
		t.Errorf("an empty variable: %+v: %v", s, err)
	}
}

// Of a secret and a file with it, what is nearer counts alone.
func TestAKeyThatIsGivenPutsTheFilesKeyAside(t *testing.T) {
	_, read := environmentFile(t, "UNDERSTUDY_KEY_FILE=/file/key\nUNDERSTUDY_ADMIN_TOKEN=file\n")
	s, err := read(map[string]string{"UNDERSTUDY_KEY": "k"}, "--admin-token-file=/flag")
	if err != nil || s.Key != "k" || s.KeyFile != "" || s.AdminToken != "" || s.AdminTokenFile != "/flag" {
		t.Errorf("settings %+v: %v", s, err)
	}
	_, read = environmentFile(t, "UNDERSTUDY_KEY_FILE=/file/key\nUNDERSTUDY_KEY=k\n")
	if _, err := read(nil); err == nil || !strings.Contains(err.Error(), "both set") {
		t.Errorf("both in the file: %v", err)
	}
}

func TestAMistakeInTheFileNamesItsLine(t *testing.T) {
	path, read := environmentFile(t, "# a comment\nUNDERSTUDY_POLL=often\nUNDERSTUDY_LISTEN=nowhere\n")
	_, err := read(nil)
	if !errors.Is(err, exit.ErrUsage) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{path + ", line 2: UNDERSTUDY_POLL", path + ", line 3: UNDERSTUDY_LISTEN"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestAFileThatOthersCanChangeIsRefused(t *testing.T) {
	path, read := environmentFile(t, "UNDERSTUDY_URL=http://file\n")
	for _, mode := range []os.FileMode{0o602, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := read(nil); !errors.Is(err, exit.ErrUsage) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 0, 12345); err != nil {
		t.Fatalf("give it to a group (the tests run as root): %v", err)
	}
	if _, err := read(nil); !errors.Is(err, exit.ErrUsage) {
		t.Errorf("a group that can change it: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := read(nil); err != nil || len(s.Exposed()) > 0 {
		t.Errorf("one without a secret that others can read: %v", err)
	}
	if err := os.Chown(path, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := read(nil); !errors.Is(err, exit.ErrUsage) || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("a file of somebody else: %v", err)
	}
	secret, read := environmentFile(t, "AWS_SECRET_ACCESS_KEY=s\n")
	if err := os.Chmod(secret, 0o640); err != nil {
		t.Fatal(err)
	}
	if s, err := read(nil); err != nil || len(s.Exposed()) != 1 || strings.Contains(s.Exposed()[0], "=s") {
		t.Errorf("a secret that others can read: %+v: %v", s, err)
	}
}

func TestAFileThatIsNamedMustBeThere(t *testing.T) {
	_, read := environmentFile(t, "")
	if _, err := read(nil, "--environment-file=/nowhere/at-all"); !errors.Is(err, exit.ErrUsage) || !strings.Contains(err.Error(), "/nowhere/at-all") {
		t.Errorf("error %v", err)
	}
	if _, err := read(nil, "--environment-file="+t.TempDir()); !errors.Is(err, exit.ErrUsage) {
		t.Errorf("a folder: %v", err)
	}
}
