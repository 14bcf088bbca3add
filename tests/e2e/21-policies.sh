#!/usr/bin/env bash
# Policies in Lua, put in force while the cluster runs: they change and deny what kubectl sends; a bad one never replaces a good one.
. "$(dirname "$0")/lib.sh"
start_kogge
LUA=$WORK/team.lua

say "a good one is put in force"
cat >"$LUA" <<'L'
match = {operations = {"CREATE", "UPDATE"}, resources = {"configmaps", "apps/deployments", "apps/deployments/scale"}}
function mutate(r)
  if r.object("metadata", "labels", "team") then return end
  return {metadata = {labels = {team = r.namespace}}}
end
function validate(r)
  if r.object("data", "secret") then return "secrets belong into Secrets" end
  if r.object("data", "odd") then return "odd is no key", 422 end
  if (r.object("spec", "replicas") or 0) > 3 then return "no more than 3 replicas, " .. r.user.name end
end
L
expect "policy team, version 1, is in force: validate mutate" "$(kogge policy load "$LUA")"
k create configmap good --from-literal=a=b >/dev/null
[ "$(k get configmap good -o jsonpath='{.metadata.labels.team}')" = default ]
k create deployment web --image=x:1 --replicas=2 >/dev/null
[ "$(k get deployment web -o jsonpath='{.metadata.labels.team} {.metadata.labels.app} {.metadata.generation}')" = "default web 1" ]

say "what it denies, kubectl says in the API's words"
refuse 'configmaps "bad" is forbidden: policy "team" denied the request: secrets belong into Secrets' \
  k create configmap bad --from-literal=secret=x
refuse 'The configmaps "good" is invalid: : policy "team" denied the request: odd is no key' k patch configmap good -p '{"data":{"odd":"x"}}'
refuse 'Error from server (Forbidden): configmaps "good" is forbidden: policy "team" denied the request: secrets belong' k patch configmap good -p '{"data":{"secret":"x"}}'
refuse 'denied the request: no more than 3 replicas' k scale deployment web --replicas=4
refuse 'denied the request' k create configmap bad --from-literal=secret=x --dry-run=server
k scale deployment web --replicas=1 >/dev/null
k delete configmap good >/dev/null

say "bad ones do not get there, and the sentence says where they are wrong"
keeps() { refuse "$1; the last good one stays in force" kogge policy load "$LUA"; refuse "denied the request" k create configmap bad --from-literal=secret=x; }
cp "$LUA" "$WORK/good.lua"
printf 'function validate(r)\n  return {\nend\n' >"$LUA"
keeps "team:3: unexpected symbol near 'end'"
printf 'function validate(r)\n  return r.object.nothing.here\nend\n' >"$LUA"
keeps "team:2: attempt to index a nil value (field 'nothing')"
printf 'function validate(r)\n  while true do\n  end\nend\n' >"$LUA"
keeps "team:2: the script used more than its 20 ms of processor time"
printf 'function validate(r)\n  local s = ("x"):rep(100000)\n  for i = 1, 10 do\n    s = s .. s\n  end\nend\n' >"$LUA"
keeps "team:4: the script used more than its 8192 KiB of memory"
printf 'os.execute("id")\n' >"$LUA"
keeps "team:1: attempt to index a nil value (global 'os')"

say "the list shows versions and state"
expect "stale" "$(kogge policy list | grep ^team)"
expect "a newer version was refused" "$(kogge policy list -o json | jq -r '.policies[0].stale')"
{ cat "$WORK/good.lua"; echo "-- a newer one"; } >"$LUA"
expect "version 2, is in force in the place of the one before" "$(kogge policy load "$LUA")"
[ "$(kogge policy list -o json | jq -r '.policies[] | "\(.name) \(.version) \(.state)"')" = "team 2 current" ]

say "it survives a swap and a restart, and is gone when it is unloaded"
kogge plugin swap policy policy.so >/dev/null
[ "$(kogge policy list -o json | jq -r '.policies[].version')" = 2 ]
kill -9 "$(kernel_pid)"
eventually 10 api_ready
refuse "denied the request: secrets belong" k create configmap bad --from-literal=secret=x
kogge policy unload team >/dev/null
k create configmap bad --from-literal=secret=x >/dev/null
refuse "there is no policy team" kogge policy unload team

say "test needs no server"
cat >"$WORK/input.yaml" <<'Y'
{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, data: {secret: x}}
Y
out=$("$BUILD/kogge" --run-dir "$WORK/none" policy test "$WORK/good.lua" --input "$WORK/input.yaml")
expect '"team":"shop"' "$out"
expect "denied: secrets belong into Secrets" "$out"

cat >"$WORK/input.yaml" <<'Y'
object: {apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {example.com/max-pods: "3"}}}
objects:
  - {apiVersion: v1, kind: ResourceQuota, metadata: {name: max-pods, namespace: shop}, spec: {hard: {pods: "9"}}}
Y
expect '"hard":{"pods":"3"}' "$(kogge policy test "$ROOT/deploy/policies/quota.lua" --input "$WORK/input.yaml")"
sed -i 's/pods: "9"/pods: "3"/' "$WORK/input.yaml"
expect "reconcile  gave: null" "$(kogge policy test "$ROOT/deploy/policies/quota.lua" --input "$WORK/input.yaml")"
refuse "is a controller: kogge plugin load quota controller-lua.so" kogge policy load "$ROOT/deploy/policies/quota.lua"

say "a controller in Lua: namespaces that say so get a quota, kept as it is"
quota() { k get quota max-pods -n "$1" -o jsonpath='{.spec.hard.pods}'; }
has() { [ "$(quota "$1")" = "$2" ]; }
cp "$ROOT/deploy/policies/quota.lua" "$WORK/quota.lua"
echo "script: $WORK/quota.lua" >"$WORK/quota.yaml"
kogge plugin load quota controller-lua.so --config "$WORK/quota.yaml" >/dev/null
k create namespace shop >/dev/null
k annotate namespace shop example.com/max-pods=3 >/dev/null
eventually 5 has shop 3
[ "$(k get quota max-pods -n shop -o jsonpath='{.metadata.managedFields[0].manager} {.metadata.managedFields[0].operation}')" = "lua-quota Apply" ]
k patch quota max-pods -n shop -p '{"spec":{"hard":{"pods":"99"}}}' >/dev/null
eventually 5 has shop 3
sed -i 's/^function reconcile/function reconcil/' "$WORK/quota.lua"
refuse "quota.lua: there is no function reconcile" kogge plugin reload quota
k delete quota max-pods -n shop >/dev/null
eventually 5 has shop 3
k annotate namespace shop example.com/max-pods=many --overwrite >/dev/null
eventually 5 sh -c "'$KUBECTL' get events -A | grep -q 'example.com/max-pods is no number: many'"
k annotate namespace shop example.com/max-pods- >/dev/null
gone() { ! quota shop 2>/dev/null; }
eventually 5 gone
kogge plugin unload quota >/dev/null
