/* What is in a configMap, secret, downwardAPI or projected volume. */
#include "node.h"

void files_free(file_t *f) {
  while (f) {
    file_t *next = f->next;
    free(f->path);
    free(f->data);
    free(f);
    f = next;
  }
}

/* Takes data; a later file of the same path replaces an earlier one. */
static int add(file_t **files, kg_str_t path, char *data, size_t n, int mode, kg_error_t *err) {
  file_t *f = *files;
  if (!path_is_local(path)) {
    free(data);
    return kg_error_set(err, KG_EINVAL, "invalid path, must be relative path: " KG_STR_FMT, KG_STR_ARG(path));
  }
  while (f && !kg_str_is(path, f->path)) f = f->next;
  if (!f) {
    f = calloc(1, sizeof *f);
    if (!f || !(f->path = kg_str_dup(path))) {
      free(f), free(data);
      return kg_error_set(err, KG_EINTERNAL, "out of memory");
    }
    f->next = *files;
    *files = f;
  }
  free(f->data);
  f->data = data;
  f->n = n;
  f->mode = mode;
  f->uid = -1;
  return 0;
}

static int mode_of(kg_view_t item, int fallback) {
  return (int)kg_view_int(kg_view_get(item, "mode"), fallback) & 07777;
}

/* `object` of the volume's name space, all keys or those under `items`. */
static int object_files(pod_t *p, kg_view_t source, bool secret, const char *name_key, int mode, file_t **files,
                        kg_error_t *err) {
  kg_str_t name = kg_view_str(kg_view_get(source, name_key));
  kg_error_t why = {0};
  bool optional = kg_view_bool(kg_view_get(source, "optional"), false);
  kg_view_t object = config_object(p, secret, name, &why), items = kg_view_get(source, "items");
  size_t n;
  if (!kg_view_there(object)) {
    if (optional && why.code == KG_ENOTFOUND) return 0;
    if (err) *err = why;
    return why.code == KG_EUNAVAILABLE ? 1 : -1;
  }
  for (kg_iter_t it = kg_iter(items); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(kg_view_get(it.value, "key"));
    char *data = config_key(object, secret, key, &n);
    if (!data && optional) continue;
    if (!data)
      return kg_error_set(err, KG_EINVAL, "references non-existent %s key: " KG_STR_FMT, secret ? "secret" : "config",
                          KG_STR_ARG(key));
    if (add(files, kg_view_str(kg_view_get(it.value, "path")), data, n, mode_of(it.value, mode), err)) return -1;
  }
  if (kg_view_count(items)) return 0;
  static const char *const maps[] = {"data", "binaryData"};
  for (size_t i = 0; i < (secret ? 1 : 2); i++)
    for (kg_iter_t it = kg_iter(kg_view_get(object, maps[i])); kg_iter_next(&it);) {
      char *data = config_key(object, secret, kg_view_str(it.key), &n);
      if (data && add(files, kg_view_str(it.key), data, n, mode, err)) return -1;
    }
  return 0;
}

static int downward_files(pod_t *p, kg_view_t source, int mode, file_t **files, kg_error_t *err) {
  for (kg_iter_t it = kg_iter(kg_view_get(source, "items")); kg_iter_next(&it);) {
    kg_view_t field = kg_view_get(it.value, "fieldRef");
    char *text = kg_view_there(field) ? field_value(p, kg_view_str(kg_view_get(field, "fieldPath")), err)
                                      : resource_value(p, kg_view_get(it.value, "resourceFieldRef"), NULL, err);
    if (!text) return -1;
    if (add(files, kg_view_str(kg_view_get(it.value, "path")), text, strlen(text), mode_of(it.value, mode), err))
      return -1;
  }
  return 0;
}

/* The one user that all containers of the pod run as; -1: they do not all say it, or not the same. */
static int64_t only_user(const pod_t *p) {
  int64_t pods = kg_view_int(kg_view_path(pod_spec(p), "securityContext", "runAsUser", NULL), -1), only = -1;
  for (size_t i = 0; i < p->nboxes; i++) {
    int64_t uid = kg_view_int(kg_view_path(box_spec(p->boxes[i]), "securityContext", "runAsUser", NULL), pods);
    if (uid < 0 || (only >= 0 && uid != only)) return -1;
    only = uid;
  }
  return only;
}

/* A token is only for those that run in the pod, if it is known who they are. */
static int token_file(pod_t *p, kg_view_t source, int mode, file_t **files, kg_error_t *err) {
  const char *text = NULL;
  int64_t user = only_user(p);
  int r = token_text(p, source, &text, err);
  if (r) return r;
  char *copy = strdup(text);
  if (user >= 0 || kg_view_type(kg_view_path(pod_spec(p), "securityContext", "fsGroup", NULL)) == KG_V_INT) mode = 0600;
  r = add(files, kg_view_str(kg_view_get(source, "path")), copy, copy ? strlen(copy) : 0, mode, err);
  for (file_t *f = *files; !r && f; f = f->next)
    if (kg_str_is(kg_view_str(kg_view_get(source, "path")), f->path)) f->uid = user;
  return r;
}

static int projected_files(pod_t *p, kg_view_t projected, int mode, file_t **files, kg_error_t *err) {
  int waits = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(projected, "sources")); kg_iter_next(&it);) {
    kg_view_t s;
    int r;
    if (kg_view_there(s = kg_view_get(it.value, "configMap")))
      r = object_files(p, s, false, "name", mode, files, err);
    else if (kg_view_there(s = kg_view_get(it.value, "secret")))
      r = object_files(p, s, true, "name", mode, files, err);
    else if (kg_view_there(s = kg_view_get(it.value, "downwardAPI")))
      r = downward_files(p, s, mode, files, err);
    else if (kg_view_there(s = kg_view_get(it.value, "serviceAccountToken")))
      r = token_file(p, s, mode, files, err);
    else
      r = kg_error_set(err, KG_EINVAL, "a projected source of this kind is not supported");
    if (r < 0) return r;
    waits |= r; /* ask for all that is missing at once */
  }
  return waits;
}

int source_files(pod_t *p, kg_view_t volume, file_t **files, kg_error_t *err) {
  kg_view_t s;
  *files = NULL;
  if (kg_view_there(s = kg_view_get(volume, "configMap")))
    return object_files(p, s, false, "name", (int)kg_view_int(kg_view_get(s, "defaultMode"), 0644), files, err);
  if (kg_view_there(s = kg_view_get(volume, "secret")))
    return object_files(p, s, true, "secretName", (int)kg_view_int(kg_view_get(s, "defaultMode"), 0644), files, err);
  if (kg_view_there(s = kg_view_get(volume, "downwardAPI")))
    return downward_files(p, s, (int)kg_view_int(kg_view_get(s, "defaultMode"), 0644), files, err);
  s = kg_view_get(volume, "projected");
  return projected_files(p, s, (int)kg_view_int(kg_view_get(s, "defaultMode"), 0644), files, err);
}
