package volume

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func nothingThere(string) bool { return false }

func TestVolumesAreToldApart(t *testing.T) {
	disk := Volume{Path: "/srv/app", Mount: "/srv", Folder: "/app", Type: "ext4", Device: "/dev/sdb1", UUID: "u", FSID: "f"}
	with := func(change func(*Volume)) Volume {
		v := disk
		change(&v)
		return v
	}
	for name, tt := range map[string]struct {
		now  Volume
		same bool
	}{
		"another name of the device": {with(func(v *Volume) { v.Device = "/dev/sdc1" }), true},
		"mounted elsewhere":          {with(func(v *Volume) { v.Mount = "/srv/app" }), true},
		"no UUID known yet":          {with(func(v *Volume) { v.UUID, v.Device = "", "/dev/sdc1" }), true},
		"neither id known yet":       {with(func(v *Volume) { v.UUID, v.FSID = "", "" }), true},
		"another UUID":               {with(func(v *Volume) { v.UUID = "other" }), false},
		"another id":                 {with(func(v *Volume) { v.UUID, v.FSID = "", "other" }), false},
		"another device":             {with(func(v *Volume) { v.UUID, v.FSID, v.Device = "", "", "/dev/sdc1" }), false},
		"another folder of it":       {with(func(v *Volume) { v.Folder = "/other" }), false},
		"another type":               {with(func(v *Volume) { v.Type = "xfs" }), false},
	} {
		found := Moved([]Volume{disk}, []Volume{tt.now}, nothingThere)
		if (len(found) == 0) != tt.same {
			t.Errorf("%s: %q", name, found)
		}
	}
	elsewhere := with(func(v *Volume) { v.Named, v.Path, v.UUID = "/mnt/app", "/mnt/app", "other" })
	if found := Moved([]Volume{disk}, []Volume{elsewhere}, nothingThere); found != nil {
		t.Errorf("another path was configured: %q", found)
	}
	if found := Moved(nil, []Volume{disk}, nothingThere); found != nil {
		t.Errorf("nothing is known: %q", found)
	}
}

// What the host says of itself needs no memory.
func TestAMountThatFstabNamesIsMissed(t *testing.T) {
	const table = `
# comment
/dev/sda1 / ext4 defaults 0 1
UUID=1 /srv/my\040app ext4 defaults 0 2
UUID=2 /srv/mounted ext4 defaults 0 2
UUID=3 /srv/by-hand ext4 noauto,user 0 2
UUID=4 none swap sw 0 0
`
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"+
		"31 27 8:17 /part /srv/mounted rw,relatime shared:5 - ext4 /dev/sdb1 rw\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/srv/my app": {"/srv/my app"}, "/srv/my app/files": {"/srv/my app"},
		"/srv/mounted/x": nil, "/srv/by-hand": nil, "/srv/my app2": nil, "/srv": nil,
	} {
		if got := missingMounts(table, path, mounts); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	v := Volume{Path: "/srv/my app", Unmounted: []string{"/srv/my app"}}
	if found := Moved(nil, []Volume{v}, nothingThere); len(found) != 1 || !strings.Contains(found[0], "/etc/fstab") {
		t.Errorf("found %q", found)
	}
	if found := Moved([]Volume{v}, []Volume{v}, nothingThere); found != nil {
		t.Errorf("after it was confirmed: %q", found)
	}
	if f := dirIn(mounts[1], "/srv/mounted/a/b"); f != "/part/a/b" {
		t.Errorf("the folder within it is %s", f)
	}
}

func TestMountPointsAreUnescaped(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134`: `/a\`, `/plain`: "/plain", `/a\9`: `/a\9`} {
		if got := unescapeTable(in); got != want {
			t.Errorf("%s gives %s", in, got)
		}
	}
	points, err := MountPoints()
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(points) == "[]" {
		t.Error("no mount point was found")
	}
}
