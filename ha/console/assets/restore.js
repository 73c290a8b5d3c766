// The commands that restore a backup or a moment by hand, complete.

const quote = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

// restoreCommand names the bucket and the key file of this host. Where the key is no file,
// a name stands for it.
export const restoreCommand = (id, place) => byHand(id, place);

// momentCommand restores a moment.
export const momentCommand = (at, place) => byHand(`--time ${at}`, place);

function byHand(what, place) {
  const bucket = place?.bucket ? ` --bucket ${quote(place.bucket)}` : "";
  return `understudy restore ${what} --to ./restored${bucket} --key-file ${place?.key_file ? quote(place.key_file) : "FILE-WITH-THE-KEY"}`;
}

// joinCommand makes another host a standby.
export const joinCommand = (place) => `understudy join --bucket ${quote(place.bucket)} --key-file ${place.key_file ? "/etc/understudy/key" : "FILE-WITH-THE-KEY"} --instance host-b --url http://host-b:7878`;
