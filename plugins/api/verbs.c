/* What create, update and patch make of an object. */
#include <string.h>

#include "custom.h"
#include "rbac.h"

/* --- the body ---------------------------------------------------------------------------------------------------- */

/* An apply is decoded twice, and says the same both times. */
void warn_once(write_t *w, const char *line) {
  for (uint32_t i = 0; i < w->warnings->c.n; i++)
    if (node_is(w->warnings->c.items[i], line)) return;
  kube_push(w->arena, w->warnings, kube_str(w->arena, line));
}

/* Unknown and duplicate fields: refused, warned of or ignored, as the client wants it. */
static bool judge_fields(write_t *w, const kube_resource_t *r, const kube_node_t *unknown) {
  kg_str_t mode = arg_str(w->q.args, "fieldValidation");
  kg_view_t duplicates = kg_view_get(w->q.args, "duplicates");
  if (kg_str_is(mode, "Ignore") || (!unknown->c.n && !kg_view_count(duplicates))) return true;
  char text[1200] = "";
  size_t n = 0;
  for (uint32_t i = 0; i < unknown->c.n; i++) {
    char *line =
        kube_arena_fmt(w->arena, "unknown field \"" KG_STR_FMT "\"", KG_STR_ARG(kube_node_str(unknown->c.items[i])));
    warn_once(w, line);
  }
  for (kg_iter_t it = kg_iter(duplicates); kg_iter_next(&it);) {
    char *line = kube_arena_fmt(w->arena, "duplicate field \"" KG_STR_FMT "\"", KG_STR_ARG(kg_view_str(it.value)));
    warn_once(w, line);
  }
  if (!kg_str_is(mode, "Strict")) return true;
  for (uint32_t i = 0; i < w->warnings->c.n && n < sizeof text; i++) {
    kg_str_t line = kube_node_str(w->warnings->c.items[i]);
    size_t room = sizeof text - n, len = line.n < room - 3 ? line.n : 0;
    if (!len) break;
    if (n) memcpy(text + n, ", ", 2), n += 2;
    memcpy(text + n, line.p, len), n += len;
    text[n] = '\0';
    if (n + 200 > sizeof text) break;
  }
  return fault_bad(&w->fault, "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s", r->kind,
                   r->version, r->kind, text);
}

static bool check_kind(write_t *w, const kube_resource_t *r, kube_node_t *object) {
  kg_str_t kind = kube_node_str(kube_get(object, "kind")), version = kube_node_str(kube_get(object, "apiVersion"));
  const char *expected = kube_arena_fmt(w->arena, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);
  if (version.n && !kg_str_is(version, expected))
    return fault_bad(&w->fault,
                     "the API version in the data (" KG_STR_FMT ") does not match the expected API version (%s)",
                     KG_STR_ARG(version), expected);
  if (kind.n && !kg_str_is(kind, r->kind))
    return fault_bad(&w->fault, KG_STR_FMT " in version \"%s\" cannot be handled as a %s: the kinds do not match",
                     KG_STR_ARG(kind), r->version, r->kind);
  return true;
}

/* The fields are those of the version that was asked for until the object is packed up for the store. */
kube_node_t *fields_as_shown(write_t *w, kube_node_t *object) {
  return kube_as_shown(w->arena, w->q.r, object);
}

/* Where a version shows parts of spec and status in annotations, a write of the one must not change the other. */
kube_node_t *fields_as_stored(write_t *w, kube_node_t *object) {
  kube_node_t *out = kube_as_stored(w->arena, w->q.r, object);
  if (!w->q.r->conversion) return out;
  const char *kept = kg_str_is(w->q.sub, "status") ? "spec" : "status";
  kube_node_t *was = w->old ? kube_get(kube_tree_parse(w->arena, object_view(w->old)), kept) : NULL;
  if (!was) was = kube_empty(w->arena, kube_field_find(w->q.c->r->type, kg_str(kept))->type);
  kube_set(w->arena, out, kept, was);
  return out;
}

kube_node_t *old_as_shown(write_t *w) {
  return fields_as_shown(w, kube_tree_parse(w->arena, object_view(w->old)));
}

/* kind, apiVersion (as stored) and metadata come first. */
static kube_node_t *set_kind(write_t *w, const kube_resource_t *r, kube_node_t *object) {
  kube_arena_t *a = w->arena;
  kube_node_t *out = kube_map(a), *meta = kube_get(object, "metadata");
  kube_set(a, out, "kind", kube_str(a, r->kind));
  kube_set(a, out, "apiVersion", kube_strf(a, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version));
  kube_set(a, out, "metadata", meta && meta->type == KG_V_MAP ? meta : kube_map(a));
  for (uint32_t i = 0; i < object->c.n; i++)
    if (!kube_getn(out, object->c.keys[i])) kube_setn(a, out, object->c.keys[i], object->c.items[i]);
  return out;
}

static bool bad_result(write_t *w, const kube_node_t *out, const char *sentence);

static bool decode(write_t *w, const kube_resource_t *r, kube_node_t *object, bool patched) {
  kube_node_t *unknown = kube_array(w->arena);
  kg_error_t err = {0};
  if (kube_decode(w->arena, r, object, unknown, &err) < 0)
    return patched ? bad_result(w, object, err.text)
                   : fault_bad(&w->fault, "%s in version \"%s\" cannot be handled as a %s: %s", r->kind, r->version,
                               r->kind, err.text);
  return judge_fields(w, r, unknown);
}

/* One sentence, or a line each under a heading. */
static const char *undeclared(write_t *w, const kube_node_t *unknown) {
  bool many = unknown->c.n > 1;
  const char *text = many ? "errors:" : "";
  for (uint32_t i = 0; i < unknown->c.n && strlen(text) < 800; i++)
    text = kube_arena_fmt(w->arena, "%s%s." KG_STR_FMT ": field not declared in schema", text, many ? "\n  " : "",
                          KG_STR_ARG(kube_node_str(unknown->c.items[i])));
  return text;
}

/* Decoding loses the order of what it does not know; an applied configuration is read without defaults. */
bool config_read(write_t *w, kube_node_t **config) {
  if (!check_kind(w, w->q.r, *config)) return false;
  kube_node_t *unknown = kube_array(w->arena);
  kg_error_t err = {0};
  *config = set_kind(w, w->q.r, *config);
  if (kube_decode_given(w->arena, w->q.r, *config, unknown, &err) < 0)
    return fault_bad(&w->fault, "%s in version \"%s\" cannot be handled as a %s: %s", w->q.r->kind, w->q.r->version,
                     w->q.r->kind, err.text);
  if (!unknown->c.n) return true;
  return fault_other(
      &w->fault, 500, "", "failed to create typed patch object (" KG_STR_FMT "/" KG_STR_FMT "; %s/%s, Kind=%s): %s",
      KG_STR_ARG(w->q.ns), KG_STR_ARG(w->q.name), w->q.r->group, w->q.r->version, w->q.r->kind, undeclared(w, unknown));
}

bool body_read(write_t *w, kg_doc_t *body, const kube_resource_t *r, kube_node_t **object) {
  kube_node_t *tree = body ? kube_tree_parse(w->arena, kg_view_of(body)) : NULL;
  if (!tree || tree->type != KG_V_MAP)
    return fault_bad(&w->fault, "the object provided is unrecognized (must be of type %s): the body is no object",
                     r->kind);
  if (!check_kind(w, r, tree)) return false;
  const kube_resource_t *stored = w->q.c && r == w->q.r ? w->q.c->r : r;
  *object = set_kind(w, stored, tree);
  if (!decode(w, r, *object, false)) return false;
  kube_default(w->arena, r, *object);
  return true;
}

static bool has_key(const kube_node_t *n, const char *key) {
  if (!n || (n->type != KG_V_MAP && n->type != KG_V_ARRAY)) return false;
  if (n->type == KG_V_MAP && kube_get(n, key)) return true;
  for (uint32_t i = 0; i < n->c.n; i++)
    if (has_key(n->c.items[i], key)) return true;
  return false;
}

/* What is kept but not acted on: a stack of manifests comes up all the same, and who applies it knows. */
static void warn_of_what_rests(write_t *w, const kube_node_t *object) {
  const char *kind = w->q.r->kind;
  if (is_resource(w->q.r, "apiextensions.k8s.io", "customresourcedefinitions")) {
    if (has_key(object, "x-kubernetes-validations"))
      warn_once(w, "x-kubernetes-validations: rules in CEL are kept, but not evaluated by this server");
  } else if (!strcmp(w->q.r->group, "admissionregistration.k8s.io")) {
    warn_once(w, kube_arena_fmt(w->arena, "%s: it is kept, but not asked by this server", kind));
  } else if (is_resource(w->q.r, "networking.k8s.io", "networkpolicies")) {
    warn_once(w, "NetworkPolicy: it is kept, but the network of this server lets all through");
  } else if (is_resource(w->q.r, "autoscaling", "horizontalpodautoscalers")) {
    warn_once(w, "HorizontalPodAutoscaler: it is kept, but nothing of this server scales by it");
  } else if (is_resource(w->q.r, "apiregistration.k8s.io", "apiservices")) {
    if (kube_path(object, "spec", "service", NULL))
      warn_once(w, "APIService: it is kept, but this server passes no request on to its service");
  }
}

static bool validate(write_t *w, const kube_node_t *object, const kube_node_t *old) {
  kube_node_t *causes = kube_array(w->arena);
  kube_validate(w->arena, w->q.r, object, old, kg_str_is(w->q.sub, "status"), causes);
  if (!causes->c.n && !w->q.sub.n) warn_of_what_rests(w, object);
  return !causes->c.n || fault_invalid(&w->fault, w->q.r, w->q.name, causes);
}

/* --- create ------------------------------------------------------------------------------------------------------ */

static bool create_object(write_t *w, kube_node_t *object) {
  meta_created(w, object);
  kind_created(w, object);
  if (!admit_create(w, object) || !validate(w, object, NULL)) return false;
  if (!podsecurity_admit(w, object, NULL) || !quota_admit(w, object, (kg_view_t){0})) return false;
  w->next_state = object;
  return true;
}

bool compute_create(write_t *w) {
  kube_node_t *object;
  if (!w->q.c) return compute_review(w);
  if (w->q.r->structural && custom_ending(w->q.api, w->q.r))
    return fault_other(&w->fault, 405, "MethodNotAllowed",
                       "create not allowed while custom resource definition is terminating");
  if (!body_read(w, w->body, w->q.r, &object)) return false;
  if (kube_node_str(kube_path(object, "metadata", "resourceVersion", NULL)).n && !w->q.dry_run)
    return fault_other(&w->fault, 500, "", "resourceVersion should not be set on objects to be created");
  if (!meta_name(w, object)) return false;
  track(w, NULL, object);
  return create_object(w, object);
}

/* What an apply creates: it has its managed fields, but not yet its defaults. */
bool create_from(write_t *w, kube_node_t *object) {
  object = set_kind(w, w->q.c->r, object);
  if (!decode(w, w->q.r, object, true)) return false;
  kube_default(w->arena, w->q.r, object);
  return meta_name(w, object) && create_object(w, object);
}

/* --- update ------------------------------------------------------------------------------------------------------ */

static bool must_name_revision(write_t *w) {
  kube_node_t *causes = kube_array(w->arena);
  cause_add(w->arena, causes, "FieldValueInvalid", "metadata.resourceVersion",
            "Invalid value: 0: must be specified for an update");
  kube_resource_t named = *w->q.r; /* this one is told of the resource, not of the kind */
  named.kind = named.resource;
  return fault_invalid(&w->fault, &named, w->q.name, causes);
}

static bool is_number(kg_str_t s) {
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] < '0' || s.p[i] > '9') return false;
  return s.n > 0;
}

static bool check_revision(write_t *w, const kube_node_t *object) {
  kg_str_t rv = kube_node_str(kube_path(object, "metadata", "resourceVersion", NULL));
  kg_str_t uid = kube_node_str(kube_path(object, "metadata", "uid", NULL)), now = kube_uid(object_view(w->old));
  if (!rv.n || kg_str_is(rv, "0")) {
    if (w->verb == W_UPDATE && w->q.m && kube_guarded(w->q.r)) return must_name_revision(w);
    w->unguarded = true;
  } else if (!is_number(rv)) {
    return fault_other(&w->fault, 500, "", "strconv.ParseUint: parsing \"" KG_STR_FMT "\": invalid syntax",
                       KG_STR_ARG(rv));
  } else if (!kg_str_eq(rv, kg_view_str(kg_view_path(object_view(w->old), "metadata", "resourceVersion", NULL)))) {
    return fault_modified(&w->fault, w->q.r, w->q.name);
  }
  if (uid.n && w->verb == W_UPDATE && !kg_str_eq(uid, now))
    return fault_conflict(&w->fault, w->q.r, NULL, w->q.name,
                          "Precondition failed: UID in precondition: " KG_STR_FMT ", UID in object meta: " KG_STR_FMT,
                          KG_STR_ARG(uid), KG_STR_ARG(now));
  return true;
}

static bool keeps_labels(const kube_resource_t *r) {
  return is_resource(r, "", "pods") || is_resource(r, "", "nodes") || is_resource(r, "", "namespaces");
}

/* The old object with the status of the new one. */
static kube_node_t *only_status(write_t *w, kube_node_t *object, kube_node_t *old) {
  kube_node_t *out = kube_tree_clone(w->arena, old), *status = kube_get(object, "status");
  kube_node_t *meta = kube_sub(w->arena, out, "metadata"), *v = kube_path(object, "metadata", "annotations", NULL);
  if (v) kube_set(w->arena, meta, "annotations", v);
  v = kube_path(object, "metadata", "labels", NULL);
  if (v && keeps_labels(w->q.r)) kube_set(w->arena, meta, "labels", v);
  v = kube_path(object, "metadata", "managedFields", NULL);
  if (v)
    kube_set(w->arena, meta, "managedFields", v);
  else
    kube_del(meta, "managedFields");
  kube_set(w->arena, out, "status", status ? status : kube_map(w->arena));
  return out;
}

/* An object that is being deleted goes with the update that takes its last finalizer. */
static bool is_over(const kube_node_t *object) {
  const kube_node_t *own = kube_path(object, "spec", "finalizers", NULL);
  if (!meta_deleting(object) || meta_finalizers(object)) return false;
  if (node_is(kube_get(object, "kind"), "Namespace") && own && own->type == KG_V_ARRAY && own->c.n) return false;
  return kube_node_int(kube_path(object, "metadata", "deletionGracePeriodSeconds", NULL), 0) == 0;
}

static bool update_tracked(write_t *w, kube_node_t *object, kube_node_t *old, bool status);

bool update_to(write_t *w, kube_node_t *object, bool status) {
  kube_node_t *old = old_as_shown(w);
  if (!meta_matches(w, object) || !check_revision(w, object)) return false;
  track(w, old, object);
  return update_tracked(w, object, old, status);
}

bool applied(write_t *w, kube_node_t *object) {
  kube_node_t *old = old_as_shown(w);
  object = set_kind(w, w->q.c->r, object);
  if (!decode(w, w->q.r, object, true)) return false;
  kube_default(w->arena, w->q.r, object);
  return meta_matches(w, object) && update_tracked(w, object, old, kg_str_is(w->q.sub, "status"));
}

static bool update_tracked(write_t *w, kube_node_t *object, kube_node_t *old, bool status) {
  kube_node_t *before, *base = old;
  bool approval = kg_str_is(w->q.sub, "approval");
  if (approval) object = csr_approval(w, object, old);
  status |= approval;
  if (status) object = only_status(w, object, old);
  if (status && is_csr(w->q.r) && !csr_updated(w, object, old)) return false;
  if (kg_str_is(w->q.sub, "ephemeralcontainers") && !ephemeral_update(w, &object, &base)) return false;
  if (kg_str_is(w->q.sub, "resize") && !resize_update(w, &object, &base)) return false;
  before = kube_get(old, "status");
  if (!status && w->q.r->has_status && w->q.r->has_spec) {
    if (before)
      kube_set(w->arena, object, "status", before);
    else
      kube_del(object, "status");
  }
  meta_carry(w, object, old);
  kube_del(kube_get(old, "metadata"), "resourceVersion");
  if (!status && !admit_update(w, object, old)) return false;
  if (!status) kind_updated(w, object, old);
  meta_generation(w, object, old);
  if (base != old) kube_del(kube_get(base, "metadata"), "resourceVersion");
  if (status) protect_phase(w, object, old);
  if (!validate(w, object, base)) return false;
  if (!status && !protect_grown(w, object, old)) return false;
  if (!status && !podsecurity_admit(w, object, old)) return false;
  if (!status && !quota_admit(w, object, object_view(w->old))) return false;
  w->next_state = object;
  w->removes = is_over(object);
  return true;
}

bool compute_update(write_t *w) {
  kube_node_t *object;
  if (!w->old) return fault_not_found(&w->fault, w->q.r, w->q.name);
  return body_read(w, w->body, w->q.r, &object) && update_to(w, object, kg_str_is(w->q.sub, "status"));
}

/* --- what a policy made of it ------------------------------------------------------------------------------------- */

/* It must be the same object still: what the api itself has set stays. */
static void keep_identity(write_t *w, kube_node_t *object) {
  static const char *const fixed[] = {
      "name",         "namespace",         "uid",           "creationTimestamp", "generation",
      "generateName", "deletionTimestamp", "managedFields", "resourceVersion"};
  kube_node_t *meta = kube_sub(w->arena, object, "metadata"), *was = kube_get(w->next_state, "metadata");
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
    kube_node_t *v = kube_get(was, fixed[i]);
    if (v)
      kube_set(w->arena, meta, fixed[i], v);
    else
      kube_del(meta, fixed[i]);
  }
}

static void keep_status(write_t *w, kube_node_t *object) {
  kube_node_t *status = kube_get(w->next_state, "status");
  if (status)
    kube_set(w->arena, object, "status", status);
  else
    kube_del(object, "status");
}

bool body_changed(write_t *w, kube_node_t *object) {
  kube_node_t *old = w->old ? old_as_shown(w) : NULL;
  bool status = kg_str_is(w->q.sub, "status");
  keep_identity(w, object);
  object = set_kind(w, w->q.c->r, object);
  if (!decode(w, w->q.r, object, false)) return false;
  kube_default(w->arena, w->q.r, object);
  if (old && status)
    object = only_status(w, object, old);
  else if (w->q.r->has_status && w->q.r->has_spec)
    keep_status(w, object);
  if (old) kube_del(kube_get(old, "metadata"), "resourceVersion");
  if (old) meta_generation(w, object, old);
  if (!validate(w, object, old)) return false;
  if (!status && !podsecurity_admit(w, object, old)) return false;
  quota_discharge(w);
  if (!status && !quota_admit(w, object, w->old ? object_view(w->old) : (kg_view_t){0})) return false;
  w->next_state = object;
  if (old) w->removes = is_over(object);
  return true;
}

/* --- patch ------------------------------------------------------------------------------------------------------- */

static bool patch_fault(write_t *w, const kg_error_t *err) {
  if (err->code == 422) {
    fault_other(&w->fault, 422, "Invalid", "the server rejected our request due to an error in our request");
    w->fault.bare = true;
    return false;
  }
  if (err->code == 413)
    return fault_other(&w->fault, 413, "RequestEntityTooLarge", "Request entity too large: %s", err->text);
  const char *reason = err->code == 409 ? "Conflict" : err->code == 422 ? "Invalid" : "BadRequest";
  return fault_other(&w->fault, err->code ? err->code : 400, reason, "%s", err->text);
}

static kube_node_t *apply_patch(write_t *w, kube_node_t *object, kube_node_t *patch) {
  kg_str_t type = arg_str(w->q.args, "patch");
  kg_error_t err = {0};
  kube_node_t *out = NULL;
  if (!w->q.m || kg_str_is(type, "merge")) /* the api's own patches are merges */
    out = kube_patch_merge(w->arena, object, patch);
  else if (kg_str_is(type, "json"))
    out = kube_patch_json(w->arena, object, patch, &err);
  else if (kg_str_is(type, "strategic") && !w->q.r->structural)
    out = kube_patch_strategic(w->arena, w->q.r->type, object, patch, &err);
  else
    fault_other(
        &w->fault, 415, "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml");
  if (!out && !w->fault.code) patch_fault(w, &err);
  return out;
}

/* What the patch made is no object of this kind. */
static bool bad_result(write_t *w, const kube_node_t *out, const char *sentence) {
  kube_node_t *causes = kube_array(w->arena);
  kube_buf_t b = {0}, text = {0};
  kg_doc_t *doc = kube_tree_doc(out);
  if (doc) kube_json_write(&b, kg_view_of(doc));
  kube_json_string(&text, (kg_str_t){b.p, b.n});
  cause_add(w->arena, causes, "FieldValueInvalid", "patch", "Invalid value: %.*s: %s", (int)text.n,
            text.p ? text.p : "", sentence);
  kube_buf_free(&b);
  kube_buf_free(&text);
  kg_doc_unref(doc);
  return fault_invalid(&w->fault, &(kube_resource_t){.group = "", .kind = ""}, (kg_str_t){0}, causes);
}

bool compute_patch(write_t *w) {
  if (kg_str_is(arg_str(w->q.args, "patch"), "apply") && w->q.m) return compute_apply(w);
  if (!w->old) return fault_not_found(&w->fault, w->q.r, w->q.name);
  kg_doc_t *shown = object_as(w->old, w->q.r, w->q.c);
  kube_node_t *object = kube_tree_clone(w->arena, kube_tree_parse(w->arena, kg_view_of(shown)));
  kube_node_t *patch = w->body ? kube_tree_parse(w->arena, kg_view_of(w->body)) : NULL;
  w->base = shown;
  if (!patch) return fault_bad(&w->fault, "the patch is missing or malformed");
  kube_node_t *out = apply_patch(w, object, patch);
  if (!out) return false;
  if (out->type != KG_V_MAP)
    return bad_result(w, out,
                      "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type "
                      "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                      "\"json:\\\"kind,omitempty\\\"\" }");
  if (!check_kind(w, w->q.r, out)) return bad_result(w, out, kube_arena_fmt(w->arena, "%s", w->fault.message));
  out = set_kind(w, w->q.c->r, out);
  if (!decode(w, w->q.r, out, true)) return false;
  kube_default(w->arena, w->q.r, out);
  if (!update_to(w, out, kg_str_is(w->q.sub, "status"))) return false;
  w->unguarded = true; /* a revision in the patch itself fails the comparison at the next try */
  return true;
}
