# Given a Kogge whose store lies on a small disk (ext4 in a file), when the disk is full, then writes are refused with an error
# that says so and reads go on; it can be killed and started again; and when space returns, writes are taken and nothing
# acknowledged is lost.
. "$(dirname "$0")/lib.sh"
DISK=$WORK/disk
mkdir -p "$DISK"
truncate -s 24M "$WORK/disk.img"
mkfs.ext4 -q "$WORK/disk.img"
mount -o loop "$WORK/disk.img" "$DISK"
unmount() { local status=$?; kill_kogge; eventually 5 umount "$DISK"; (exit $status) && true; set +e; (exit $status); take_down; }
trap unmount EXIT
head -c 6M /dev/zero >"$DISK/filler"

sed -E '/file: (network|runtime|node|proxy|dns|controller|scheduler)/d; /network|node-name|pod-cidr|bridge/d' "$CONFIG" |
  sed -E "s|.name: store, file: store-lmdb.so, lane: main.|{name: store, file: store-lmdb.so, lane: main, config: {dir: $DISK/store}}|" >"$WORK/api.yaml"
start() {
  mkdir -p "$DATA" "$RUN"
  setsid -f "$BUILD/kogge" server --config "$WORK/api.yaml" --data-dir "$DATA" --run-dir "$RUN" --https-port "$PORT" >>"$WORK/kogge.log" 2>&1 </dev/null
  eventually 20 api_ready
}
# create NAME: a ConfigMap of 600 KB; prints the code of the answer, which is in $WORK/answer.
head -c 450000 /dev/urandom | base64 -w0 >"$WORK/content"
create() {
  jq -n --rawfile d "$WORK/content" --arg n "$1" '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: $n}, data: {d: $d}}' |
    curl -s -o "$WORK/answer" -w '%{http_code}\n' --cacert "$DATA/tls/ca.crt" --cert "$DATA/tls/admin.crt" --key "$DATA/tls/admin.key" \
      -H 'Content-Type: application/json' -d @- "https://127.0.0.1:$PORT/api/v1/namespaces/default/configmaps"
}
start
n=0
while code=$(create "big-$((n + 1))") && [ "$code" = 201 ]; do
  n=$((n + 1))
  [ $n -lt 40 ] || fail "40 objects of 600 KB fit on a disk of 24 MB"
done
say "$n objects were taken, then: $(jq -c '{code, reason, message}' "$WORK/answer")"
[ "$code" = 507 ] || fail "the answer was $code"
[ "$(jq -r '.kind + " " + .status' "$WORK/answer")" = "Status Failure" ] || fail "no Status: $(cat "$WORK/answer")"
expect "No space left on device" "$(jq -r .message "$WORK/answer")"
refuse "No space left on device" k create configmap another --from-file=d="$WORK/content"

all_there() {
  k get configmaps -o name | grep -c /big- | grep -qx "$n" || fail "$n were acknowledged, $(k get configmaps -o name | grep -c /big-) are there"
  [ "$(k get configmap "big-$n" -o jsonpath='{.data.d}' | md5sum)" = "$(md5sum <"$WORK/content")" ] || fail "the last one is damaged"
}
say "reads go on; killed with -9 it starts again on the full disk"
all_there
kill_kogge
start
all_there
[ "$(create again)" = 507 ] || fail "the disk is still full: $(cat "$WORK/answer")"

say "space returns"
rm "$DISK/filler"
[ "$(create after)" = 201 ] || fail "the write was refused: $(cat "$WORK/answer")"
k delete configmap big-1
n=$((n - 1))
kill_kogge
start
k get configmaps -o name | grep -c /big- | grep -qx "$n" || fail "not the objects that were acknowledged"
k get configmap after -o name
