/* ConfigMaps, Secrets, roles, nodes and other small things. */
#include <string.h>

#include "kube/json.h"
#include "kube/values.h"
#include "validate.h"

enum { MOST_DATA = 1024 * 1024 };

static size_t decoded(kg_str_t s) {
  size_t n = s.n / 4 * 3;
  while (s.n && s.p[s.n - 1] == '=' && n) s.n--, n--;
  return n;
}

static size_t bytes_in(const kube_node_t *m, bool base64) {
  size_t n = 0;
  for (uint32_t i = 0; m && m->type == KG_V_MAP && i < m->c.n; i++) {
    kg_str_t s = kube_node_str(m->c.items[i]);
    n += base64 ? decoded(s) : s.n;
  }
  return n;
}

KUBE_CALL(config_data) {
  (void)r, (void)old;
  const kube_node_t *data = kube_get(v, "data"), *binary = kube_get(v, "binaryData");
  for (uint32_t i = 0; binary && binary->type == KG_V_MAP && i < binary->c.n; i++) {
    if (!kube_getn(data, binary->c.keys[i])) continue;
    kube_invalid_str(c, kube_arena_fmt(c->a, "binaryData[" KG_STR_FMT "]", KG_STR_ARG(binary->c.keys[i])),
                     binary->c.keys[i], "duplicate of key present in data");
  }
  if (bytes_in(data, false) + bytes_in(binary, true) > MOST_DATA) kube_too_long(c, "", MOST_DATA);
}

/* What was declared immutable stays so, and its data with it. */
KUBE_CALL(immutable_data) {
  (void)r;
  static const char *const keys[] = {"data", "binaryData"};
  if (!old || !kube_node_bool(kube_get(old, "immutable"), false)) return;
  if (!kube_node_bool(kube_get(v, "immutable"), false))
    kube_forbidden(c, "immutable", "field is immutable when `immutable` is set");
  for (int i = 0; i < 2; i++) {
    const kube_node_t *a = kube_get(v, keys[i]), *b = kube_get(old, keys[i]);
    if ((kube_count(a) || kube_count(b)) && !kube_tree_equal(a, b))
      kube_forbidden(c, keys[i], "field is immutable when `immutable` is set");
  }
}

static bool decode(kube_check_t *c, kg_str_t s, kg_str_t *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *p = kube_arena_alloc(c->a, s.n + 1);
  uint32_t v = 0;
  unsigned bits = 0;
  size_t n = 0;
  for (size_t i = 0; i < s.n && s.p[i] != '='; i++) {
    const char *at = strchr(digits, s.p[i]);
    if (!at) return false;
    v = v << 6 | (uint32_t)(at - digits);
    if ((bits += 6) >= 8) p[n++] = (char)(v >> (bits -= 8));
  }
  *out = (kg_str_t){p, n};
  return true;
}

static void needs(kube_check_t *c, const kube_node_t *data, const char *key) {
  if (!kube_get(data, key)) kube_required(c, kube_arena_fmt(c->a, "data[%s]", key), NULL);
}

static void needs_json(kube_check_t *c, const kube_node_t *data, const char *key) {
  const kube_node_t *v = kube_get(data, key);
  kg_str_t text;
  kg_error_t err = {0};
  if (!v) return needs(c, data, key);
  if (!decode(c, kube_node_str(v), &text)) return;
  kg_doc_t *doc = kube_json_parse(text.p, text.n, NULL, NULL, &err);
  if (!doc || kg_view_type(kg_view_of(doc)) != KG_V_MAP)
    kube_invalid_str(c, kube_arena_fmt(c->a, "data[%s]", key), KG_STR("<secret contents redacted>"),
                     doc ? "json: cannot unmarshal into Go value" : err.text);
  kg_doc_unref(doc);
}

/* What each type of Secret must hold. */
KUBE_CALL(secret_data) {
  (void)r, (void)old;
  const kube_node_t *data = kube_get(v, "data");
  kg_str_t type = kube_text(v, "type");
  if (bytes_in(data, true) > MOST_DATA) kube_too_long(c, "data", MOST_DATA);
  if (kg_str_is(type, "kubernetes.io/service-account-token")) {
    if (!kube_node_str(kube_path(v, "metadata", "annotations", "kubernetes.io/service-account.name", NULL)).n)
      kube_required(c, "metadata.annotations[kubernetes.io/service-account.name]", NULL);
  } else if (kg_str_is(type, "kubernetes.io/dockercfg")) {
    needs_json(c, data, ".dockercfg");
  } else if (kg_str_is(type, "kubernetes.io/dockerconfigjson")) {
    needs_json(c, data, ".dockerconfigjson");
  } else if (kg_str_is(type, "kubernetes.io/basic-auth")) {
    if (!kube_get(data, "username") && !kube_get(data, "password"))
      needs(c, data, "username"), needs(c, data, "password");
  } else if (kg_str_is(type, "kubernetes.io/ssh-auth")) {
    needs(c, data, "ssh-privatekey");
  } else if (kg_str_is(type, "kubernetes.io/tls")) {
    needs(c, data, "tls.crt"), needs(c, data, "tls.key");
  }
}

/* --- nodes ------------------------------------------------------------------------------------------------------ */

/* What of a node's spec may change: taints and whether it takes pods; its networks and its name elsewhere once. */
KUBE_CALL(node_update) {
  (void)r;
  static const char *const once[] = {"podCIDRs", "providerID"};
  static const char *const kept[] = {"podCIDRs", "providerID", "configSource", "externalID"};
  bool changed = false;
  if (!c->old_root) return;
  for (int i = 0; i < 2; i++) {
    const kube_node_t *was = kube_get(old, once[i]), *is = kube_get(v, once[i]);
    if (!kube_node_empty(was) && !kube_tree_equal(was, is))
      kube_forbidden(c, once[i],
                     i ? "node updates may not change providerID except from \"\" to valid"
                       : "node updates may not change podCIDR except from \"\" to valid");
  }
  for (int i = 0; i < 4; i++) {
    const kube_node_t *was = kube_get(old, kept[i]), *is = kube_get(v, kept[i]);
    changed |= (i > 1 || !kube_node_empty(was)) && !kube_tree_equal(was, is);
  }
  if (!changed) return;
  size_t n = c->n;
  c->n = 0;
  c->path[0] = 0;
  kube_forbidden(c, "[]", "node updates may only change labels, taints, or capacity");
  c->n = n;
  memcpy(c->path, "spec", sizeof "spec");
}

KUBE_CALL(pod_cidrs) {
  (void)r, (void)old;
  if (kube_count(v) > 2) kube_invalid(c, "podCIDRs", v, "may specify no more than one CIDR for each IP family");
  for (uint32_t i = 0; i < kube_count(v); i++) {
    size_t n = kube_path_push(c, "podCIDRs");
    kube_path_index(c, i);
    kube_check_form(c, NULL, kube_node_str(v->c.items[i]), kube_form_cidr);
    kube_path_pop(c, n);
  }
}

/* --- roles ------------------------------------------------------------------------------------------------------ */

KUBE_CALL(policy_rule) {
  (void)r, (void)old;
  bool urls = kube_count(kube_get(v, "nonResourceURLs")) > 0, groups = kube_count(kube_get(v, "apiGroups")) > 0,
       resources = kube_count(kube_get(v, "resources")) > 0, names = kube_count(kube_get(v, "resourceNames")) > 0;
  if (!kube_count(kube_get(v, "verbs"))) kube_required(c, "verbs", "verbs must contain at least one value");
  if (urls) {
    if (c->r->namespaced)
      kube_invalid(c, "nonResourceURLs", kube_get(v, "nonResourceURLs"),
                   "namespaced rules cannot apply to non-resource URLs");
    if (groups || resources || names)
      kube_invalid(c, "nonResourceURLs", kube_get(v, "nonResourceURLs"),
                   "rules cannot apply to both regular resources and non-resource URLs");
    return;
  }
  if (!groups) kube_required(c, "apiGroups", "resource rules must supply at least one api group");
  if (!resources) kube_required(c, "resources", "resource rules must supply at least one resource");
}

KUBE_CALL(subject_namespace) {
  (void)old;
  if (!c->r->namespaced && kube_node_empty(v)) kube_required(c, r->field, NULL);
}

/* --- flow schemas, webhooks, certificates ----------------------------------------------------------------------- */

static bool among(const char *const *list, kg_str_t s) {
  for (; *list; list++)
    if (kg_str_is(s, *list)) return true;
  return false;
}

KUBE_CALL(flow_verbs) {
  (void)old;
  static const char *const known[] = {"create", "delete", "deletecollection", "get",   "list",
                                      "patch",  "proxy",  "update",           "watch", NULL};
  bool star = false, good = true;
  for (uint32_t i = 0; i < kube_count(v); i++) {
    star |= kg_str_is(kube_node_str(v->c.items[i]), "*");
    good &= among(known, kube_node_str(v->c.items[i]));
  }
  if (star && kube_count(v) > 1)
    kube_invalid(c, r->field, v, "if '*' is present, must not specify other verbs");
  else if (!star && !good)
    kube_unsupported(c, r->field, v, "create delete deletecollection get list patch proxy update watch");
}

KUBE_CALL(flow_url) {
  (void)r, (void)old;
  kg_str_t s = kube_node_str(v);
  if (kg_str_is(s, "*")) return;
  if (!s.n)
    kube_invalid_str(c, NULL, s, "must not be empty");
  else if (s.p[0] != '/')
    kube_invalid_str(c, NULL, s, "must start with slash");
  else if (memchr(s.p, ' ', s.n))
    kube_invalid_str(c, NULL, s, "must not contain white-space");
  else if (s.n > 1 && memchr(s.p, '*', s.n - 1))
    kube_invalid_str(c, NULL, s, "wildcard can only do suffix matching");
}

/* At least one version of the review must be one that is spoken. */
KUBE_CALL(review_versions) {
  (void)r, (void)old;
  const kube_node_t *list = kube_get(v, "admissionReviewVersions");
  kube_node_t *seen = kube_map(c->a);
  bool known = false;
  for (uint32_t i = 0; i < kube_count(list); i++) {
    kg_str_t s = kube_node_str(list->c.items[i]);
    known |= kg_str_is(s, "v1") || kg_str_is(s, "v1beta1");
    if (kube_noted(c, seen, kube_arena_fmt(c->a, KG_STR_FMT, KG_STR_ARG(s))))
      kube_invalid(c, kube_arena_fmt(c->a, "admissionReviewVersions[%u]", i), list->c.items[i], "duplicate version");
  }
  if (kube_count(list) && !known)
    kube_invalid(c, "admissionReviewVersions", list, "must include at least one of v1, v1beta1");
}

KUBE_CALL(webhook_path) {
  (void)old;
  kg_str_t s = kube_node_str(v), rest;
  if (!s.n) return;
  if (s.p[0] != '/') kube_invalid_str(c, r->field, s, "must start with a '/'");
  if (kg_str_is(s, "/")) return;
  if (s.n > 1 && s.p[s.n - 1] == '/') s.n--;
  rest = s.n && s.p[0] == '/' ? (kg_str_t){s.p + 1, s.n - 1} : s;
  for (size_t i = 0, start = 0; i <= rest.n; i++) {
    if (i < rest.n && rest.p[i] != '/') continue;
    if (i == start)
      kube_invalid_str(c, r->field, s, "segment may not be empty");
    else
      kube_check_form(c, r->field, (kg_str_t){rest.p + start, i - start}, kube_form_dns1123_subdomain);
    start = i + 1;
  }
}

KUBE_CALL(csr) {
  (void)old;
  static const char begin[] = "-----BEGIN CERTIFICATE REQUEST-----";
  kg_str_t text = {0};
  if (v && v->type == KG_V_STR && !decode(c, v->s, &text)) return;
  if (!text.n || !memmem(text.p, text.n, begin, sizeof begin - 1))
    kube_invalid(c, r->field, v ? v : kube_nil(c->a), "PEM block type must be CERTIFICATE REQUEST");
}

KUBE_CALL(key_usage) {
  (void)r, (void)old;
  static const char *const known[] = {"any",
                                      "cert sign",
                                      "client auth",
                                      "code signing",
                                      "content commitment",
                                      "crl sign",
                                      "data encipherment",
                                      "decipher only",
                                      "digital signature",
                                      "email protection",
                                      "encipher only",
                                      "ipsec end system",
                                      "ipsec tunnel",
                                      "ipsec user",
                                      "key agreement",
                                      "key encipherment",
                                      "microsoft sgc",
                                      "netscape sgc",
                                      "ocsp signing",
                                      "s/mime",
                                      "server auth",
                                      "signing",
                                      "timestamping",
                                      NULL};
  if (!among(known, kube_node_str(v))) kube_unsupported(c, NULL, v, "any");
}

/* "example.com/name" */
KUBE_CALL(signer_name) {
  (void)old;
  kg_str_t s = kube_node_str(v);
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  if (!slash || memchr(slash + 1, '/', (size_t)(s.p + s.n - slash - 1)))
    return kube_invalid_str(c, r->field, s,
                            "must be a fully qualified domain and path of the form 'example.com/signer-name'");
  kube_check_form(c, r->field, (kg_str_t){s.p, (size_t)(slash - s.p)}, kube_form_dns1123_subdomain);
  kube_check_form(c, r->field, (kg_str_t){slash + 1, (size_t)(s.p + s.n - slash - 1)}, kube_form_dns1123_subdomain);
}

/* --- things that may only grow or stay -------------------------------------------------------------------------- */

/* Errors call the struct, not the element: once for either of the two that are the same. */
KUBE_CALL(unique_here) {
  (void)r, (void)old;
  kube_node_t *seen = kube_map(c->a);
  for (uint32_t i = 0; i < kube_count(v); i++)
    if (kube_noted(c, seen, kube_value_text(c, v->c.items[i]))) kube_duplicate(c, NULL, v->c.items[i]);
}

static void csi_driver_changed(kube_check_t *c, const kube_node_t *driver) {
  char whole[sizeof c->path];
  size_t n = c->n;
  memcpy(whole, c->path, sizeof whole);
  c->n = 0;
  kube_path_push(c, "CSINodeDriver");
  kube_invalid(c, NULL, driver, "field is immutable");
  memcpy(c->path, whole, sizeof whole);
  c->n = n;
}

/* Drivers of a CSINode may come and go, but not become others. */
KUBE_CALL(csi_drivers) {
  const kube_node_t *before = kube_get(old, "drivers"), *now = kube_get(v, "drivers");
  (void)r;
  for (uint32_t i = 0; c->old_root && i < kube_count(before); i++) {
    for (uint32_t k = 0; k < kube_count(now); k++) {
      const kube_node_t *a = before->c.items[i], *b = now->c.items[k];
      if (!kg_str_eq(kube_text(a, "name"), kube_text(b, "name"))) continue;
      if (!kg_str_eq(kube_text(a, "nodeID"), kube_text(b, "nodeID")) ||
          !kube_tree_equal(kube_get(a, "topologyKeys"), kube_get(b, "topologyKeys")))
        csi_driver_changed(c, a);
    }
  }
}

/* --- trust bundles: the name begins with that of the signer ------------------------------------------------------- */

typedef struct bundle_name {
  kube_check_t *c;
  kg_str_t name;
} bundle_name_t;

static void complain_of_name(void *arg, const char *sentence) {
  bundle_name_t *b = arg;
  kube_invalid_str(b->c, "metadata.name", b->name, sentence);
}

KUBE_CALL(trust_bundle) {
  (void)r, (void)old;
  kg_str_t signer = kube_node_str(kube_node_look(v, "spec.signerName"));
  bundle_name_t b = {c, kube_node_str(kube_node_look(v, "metadata.name"))};
  char *prefix = kube_arena_fmt(c->a, KG_STR_FMT "%s", KG_STR_ARG(signer), signer.n ? ":" : "");
  size_t n = strlen(prefix);
  for (char *p = strchr(prefix, '/'); p; p = strchr(p, '/')) *p = ':';
  kg_str_t bundle = kube_node_str(kube_node_look(v, "spec.trustBundle"));
  static const char begin[] = "-----BEGIN CERTIFICATE-----";
  if (bundle.n && !memmem(bundle.p, bundle.n, begin, sizeof begin - 1))
    kube_invalid_str(c, "spec.trustBundle", KG_STR("<value omitted>"), "at least one trust anchor must be provided");
  if (!b.name.n) return;
  if (!signer.n && memchr(b.name.p, ':', b.name.n))
    complain_of_name(&b, "ClusterTrustBundle without signer name must not have \":\" in its name");
  else if (b.name.n < n || memcmp(b.name.p, prefix, n) != 0)
    complain_of_name(&b, kube_arena_fmt(c->a,
                                        "ClusterTrustBundle for signerName " KG_STR_FMT " must be named with prefix %s",
                                        KG_STR_ARG(signer), prefix));
  else
    kube_form_dns1123_subdomain((kg_str_t){b.name.p + n, b.name.n - n}, complain_of_name, &b);
}
