# Given a registry on this machine, when a pod names an image of it, then the image is pulled layer by layer and checked; archives of
# docker and OCI come in as well; an image that is not there says so in the known words.
. "$(dirname "$0")/lib.sh"
start_kogge
eventually 30 node_ready
REGISTRY=127.0.0.1:$((PORT + 300))

say "a registry with two images: one layer, and two with a whiteout"
mkdir -p "$WORK/registry" "$WORK/a/bin" "$WORK/a/etc" "$WORK/b/etc"
cat >"$WORK/registry.yaml" <<Y
version: 0.1
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: $REGISTRY}
Y
docker-registry serve "$WORK/registry.yaml" >"$WORK/registry.log" 2>&1 &
registry=$!
trap 'kill $registry 2>/dev/null; take_down' EXIT
eventually 10 curl -sf "http://$REGISTRY/v2/"
cp /bin/busybox "$WORK/a/bin/busybox"; ln -s busybox "$WORK/a/bin/sh"; echo gone >"$WORK/a/etc/gone"; echo kept >"$WORK/a/etc/kept"
touch "$WORK/b/etc/.wh.gone"; echo new >"$WORK/b/etc/new"
# image DIR NAME LAYER...: an OCI layout of gzip layers, made by hand so that every byte is known.
image() {
  local dir=$1 layers="" ids="" blobs="$1/blobs/sha256" sum id n
  shift; mkdir -p "$blobs"
  for layer in "$@"; do
    tar -C "$layer" --owner=0 --group=0 --mtime=@0 --sort=name -cf "$WORK/layer.tar" .
    id=$(sha256sum "$WORK/layer.tar" | cut -d' ' -f1); gzip -nf "$WORK/layer.tar"
    sum=$(sha256sum "$WORK/layer.tar.gz" | cut -d' ' -f1); n=$(stat -c %s "$WORK/layer.tar.gz"); mv "$WORK/layer.tar.gz" "$blobs/$sum"
    ids+="${ids:+,}\"sha256:$id\""
    layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$sum\",\"size\":$n}"
  done
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin","COLOR=green"],"Cmd":["/bin/sh","-c","/bin/busybox cat /etc/kept"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$ids" >"$WORK/config"
  sum=$(sha256sum "$WORK/config" | cut -d' ' -f1); n=$(stat -c %s "$WORK/config"); mv "$WORK/config" "$blobs/$sum"
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' "$sum" "$n" "$layers" >"$WORK/manifest"
  sum=$(sha256sum "$WORK/manifest" | cut -d' ' -f1); n=$(stat -c %s "$WORK/manifest"); mv "$WORK/manifest" "$blobs/$sum"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' "$sum" "$n" "story/$(basename "$dir"):1" >"$dir/index.json"
}
image "$WORK/one" "$WORK/a"
image "$WORK/two" "$WORK/a" "$WORK/b"
for i in one two; do skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$WORK/$i:story/$i:1" "docker://$REGISTRY/story/$i:1"; done

say "a pod pulls it"
k run one --image="$REGISTRY/story/one:1" --restart=Never
eventually 30 sh -c "'$KUBECTL' get pod one --no-headers | grep -q Completed"
[ "$(k logs one)" = kept ] || fail "the pod's output: $(k logs one)"
expect "Successfully pulled image" "$(k describe pod one)"
expect "$REGISTRY/story/one" "$(kogge image list)"

say "the second image shares a layer with the first, and hides a file of it"
expect "is here" "$(kogge image pull "$REGISTRY/story/two:1" 2>&1)"
k run two --image="$REGISTRY/story/two:1" --image-pull-policy=Never --restart=Never --command -- /bin/sh -c '/bin/busybox ls /etc; echo $COLOR'
eventually 30 sh -c "'$KUBECTL' get pod two --no-headers | grep -q Completed"
out=$(k logs two)
expect new "$out"; expect green "$out"
[[ $out != *gone* ]] || fail "the whiteout did not hide the file: $out"

say "by digest, and what is damaged on the way is refused"
digest=$(jq -r '.manifests[0].digest' "$WORK/one/index.json")
[ "$(kogge image pull "$REGISTRY/story/one@$digest" -o json | jq -r '.images[0]')" = "$REGISTRY/story/one@$digest" ] || fail "pull -o json"
[ "$(k get pod one -o jsonpath='{.status.containerStatuses[0].imageID}')" = "$REGISTRY/story/one@$digest" ] || fail "the pod's imageID"
refuse "not found" kogge image pull "$REGISTRY/story/one:absent"
blob=$(jq -r '.layers[1].digest' "$WORK/two/blobs/sha256/$(jq -r '.manifests[0].digest' "$WORK/two/index.json" | cut -d: -f2)" | cut -d: -f2)
kogge image remove "$REGISTRY/story/two:1" 2>/dev/null || k delete pod two --wait &&
  [ "$(kogge image remove "$REGISTRY/story/two:1" -o json | jq -r '.removed[0]')" = "$REGISTRY/story/two:1" ] || fail "remove -o json"
echo rubbish >"$WORK/registry/docker/registry/v2/blobs/sha256/${blob:0:2}/$blob/data"
if kogge image pull "$REGISTRY/story/two:1" >"$WORK/damaged" 2>&1; then fail "a damaged layer was taken"; fi
k run noimage --image="$REGISTRY/story/none:1" --restart=Never
eventually 30 sh -c "'$KUBECTL' get pod noimage --no-headers | grep -qE 'ErrImagePull|ImagePullBackOff'"
expect "Failed to pull image" "$(k describe pod noimage)"

say "a registry that wants credentials gets those of the pod's pull secret, by way of its token service"
cat >"$WORK/tokens.py" <<'Y'
import base64, http.server, json, sys
class Tokens(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"ann:secret").decode()
        self.send_response(200 if good else 401); self.end_headers()
        if good: self.wfile.write(json.dumps({"token": "t"}).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Tokens).serve_forever()
Y
sed "s/addr: .*}/addr: 127.0.0.1:$((PORT + 302))}/" "$WORK/registry.yaml" >"$WORK/private.yaml"
echo "auth: {silly: {realm: \"http://127.0.0.1:$((PORT + 301))/token\", service: story}}" >>"$WORK/private.yaml"
python3 "$WORK/tokens.py" $((PORT + 301)) >/dev/null 2>&1 &
tokens=$!
docker-registry serve "$WORK/private.yaml" >"$WORK/private.log" 2>&1 &
private=$!
trap 'kill $registry $tokens $private 2>/dev/null; take_down' EXIT
eventually 10 sh -c "curl -s http://127.0.0.1:$((PORT + 302))/v2/ | grep -q UNAUTHORIZED"
eventually 10 curl -s "http://127.0.0.1:$((PORT + 301))/"
refuse "pull access denied" kogge image pull "127.0.0.1:$((PORT + 302))/story/one:1"
k create secret docker-registry pull --docker-server="127.0.0.1:$((PORT + 302))/story" --docker-username=ann --docker-password=secret
k create secret docker-registry other --docker-server="http://127.0.0.1:$((PORT + 302))/v2/other" --docker-username=bob --docker-password=x
k create secret docker-registry wide --docker-server="127.*.0.1:$((PORT + 302))" --docker-username=bob --docker-password=x
k run private --image="127.0.0.1:$((PORT + 302))/story/one:1" --restart=Never \
  --overrides='{"spec":{"imagePullSecrets":[{"name":"other"},{"name":"pull"},{"name":"wide"}]}}'
eventually 30 sh -c "'$KUBECTL' get pod private --no-headers | grep -q Completed"

say "archives"
skopeo copy -q --insecure-policy "oci:$WORK/one:story/one:1" "docker-archive:$WORK/one.tar:story/docker:1"
tar -C "$WORK/two" -cf "$WORK/two.tar" .
kogge image import "$WORK/one.tar"
expect "docker.io/story/docker" "$(kogge image list)"
kogge image import "$WORK/two.tar"
expect "docker.io/story/two" "$(kogge image list)"
head -c 100000 "$WORK/two.tar" >"$WORK/cut.tar"
refuse "kogge:" kogge image import "$WORK/cut.tar"
tar -C "$WORK" -cf "$WORK/none.tar" registry.yaml
refuse "holds no images" kogge image import "$WORK/none.tar"
ln -s /etc "$WORK/evil"; echo x >"$WORK/passwd-evil"
tar -C "$WORK" -cf "$WORK/evil.tar" evil; tar -C "$WORK" -rf "$WORK/evil.tar" --transform 's,passwd-evil,evil/kogge-was-here,' passwd-evil
refuse "kogge:" kogge image import "$WORK/evil.tar"
[ ! -e /etc/kogge-was-here ] || fail "an archive wrote outside"
k delete pod one private noimage --wait=true --timeout=30s
for name in $(kogge image list --output json | jq -r '.images[].tags[]'); do kogge image remove "$name"; done
[ -z "$(ls "$DATA/runtime/images/layers")" ] || fail "layers are left: $(ls "$DATA/runtime/images/layers")"
