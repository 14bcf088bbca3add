# Given a fresh cluster, when people and service accounts with few rights use it, then each can do what he was given and nothing else.
. "$(dirname "$0")/lib.sh"
start_kogge
U() { "$KUBECTL" --server="https://127.0.0.1:$PORT" --certificate-authority="$DATA/tls/ca.crt" --token="$TOKEN" --kubeconfig=/dev/null "$@"; }
raw() { curl -s --cacert "$DATA/tls/ca.crt" "https://127.0.0.1:$PORT$1"; }

say "the default roles are there, aggregated ones filled"
eventually 10 sh -c "'$KUBECTL' get clusterrole admin -o jsonpath='{.rules[*].resources}' | grep -q rolebindings"
expect "system:discovery" "$(k get clusterrolebindings -o name)"
k create clusterrole extra --verb=get --resource=nodes
k label clusterrole extra rbac.authorization.k8s.io/aggregate-to-view=true
eventually 10 sh -c "'$KUBECTL' get clusterrole admin -o jsonpath='{.rules[*].resources}' | grep -q nodes"

say "nobody sees health and nothing else"
[ "$(raw /livez)" = ok ] || fail "livez"
expect '"gitVersion"' "$(raw /version)"
expect 'User "system:anonymous" cannot list resource "pods"' "$(raw /api/v1/pods | jq -r .message)"
expect 'cannot get path "/metrics"' "$(raw /metrics | jq -r .message)"

say "a service account's token can do what its role says"
k create serviceaccount bob
k create role reader --verb=get,list --resource=pods
k create rolebinding bob --role=reader --serviceaccount=default:bob
TOKEN=$(k create token bob)
U get pods
refuse 'User "system:serviceaccount:default:bob" cannot list resource "secrets" in API group "" in the namespace "default"' U get secrets
refuse 'cannot list resource "pods" in API group "" at the cluster scope' U get pods -A
expect "system:serviceaccount:default:bob" "$(U auth whoami)"
expect "[get list]" "$(U auth can-i --list)"
[ "$(U auth can-i get pods)" = yes ] || fail "can-i get pods"
[ "$(U auth can-i create pods || true)" = no ] || fail "can-i create pods"
expect "ES256" "$(k get --raw /openid/v1/jwks)"

say "a token review tells whose a token is; a token ends with its account"
review() { k create --raw /apis/authentication.k8s.io/v1/tokenreviews -f - <<<"{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{\"token\":\"$1\"}}"; }
[ "$(review "$TOKEN" | jq -r .status.user.username)" = system:serviceaccount:default:bob ] || fail "the review"
[ "$(review x.y.z | jq -r '.status.authenticated // false')" = false ] || fail "the review of nonsense"
k delete serviceaccount bob
refuse "Unauthorized" U get pods

say "a Secret of the type of tokens gets one, and goes with its account"
k create serviceaccount robot
for name in robot nobody; do
  k create -f - <<<"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"$name-token\",\"annotations\":
    {\"kubernetes.io/service-account.name\":\"$name\"}},\"type\":\"kubernetes.io/service-account-token\"}"
done
robot_token() { k get secret robot-token -o jsonpath='{.data.token}' | base64 -d | grep .; }
eventually 5 robot_token
TOKEN=$(robot_token)
expect "system:serviceaccount:default:robot" "$(U auth whoami)"
eventually 5 sh -c "! '$KUBECTL' get secret nobody-token"
k delete serviceaccount robot
eventually 5 sh -c "! '$KUBECTL' get secret robot-token"

say "impersonation, and nobody gives away more than he has"
refuse 'User "carol" cannot list resource "pods"' k get pods --as=carol
k create clusterrolebinding carol --clusterrole=admin --user=carol
k --as=carol create role fair --verb=get --resource=secrets
refuse "attempting to grant RBAC permissions not currently held" k --as=carol create role evil --verb=delete --resource=nodes
refuse "attempting to grant RBAC permissions not currently held" k --as=carol create rolebinding evil --clusterrole=cluster-admin --user=carol
k create clusterrolebinding carol-edit --clusterrole=edit --user=carol
[ "$(k --as=carol auth can-i impersonate serviceaccounts)" = yes ] || fail "edit may act as service accounts"
[ "$(k --as=carol auth can-i impersonate users || true)" = no ] || fail "edit may not act as users"

say "no request for a certificate makes a superuser"
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$WORK/eve.key" -subj "/O=system:masters/CN=eve" -out "$WORK/eve.csr" 2>/dev/null
k create -f - <<<"{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"eve\"},
  \"spec\":{\"request\":\"$(base64 -w0 <"$WORK/eve.csr")\",\"signerName\":\"kubernetes.io/kube-apiserver-client\",\"usages\":[\"client auth\"]}}"
k certificate approve eve
eventually 10 sh -c "'$KUBECTL' get csr eve | grep -q Approved,Failed"
[ -z "$(k get csr eve -o jsonpath='{.status.certificate}')" ] || fail "a certificate for system:masters"
