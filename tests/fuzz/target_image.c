/* An image of a hostile registry: its name, then whatever the registry answers, one part after the other. */
#include "registry.h"
#include "store.h"

static fuzz_in_t *answers;

registry_t *registry_open(job_t *j, const char *full, kg_error_t *err) {
  (void)err;
  const char *slash = strchr(full, '/'), *at = strchr(full, '@'), *end = at ? at : strrchr(full, ':');
  FUZZ_MUST(slash && end > slash); /* a name in full has a host, a path and a tag or digest */
  registry_t *r = calloc(1, sizeof *r);
  r->job = j;
  r->host = strndup(full, (size_t)(slash - full));
  r->repo = strndup(slash + 1, (size_t)(end - slash - 1));
  r->reference = strdup(end + 1);
  return r;
}
void registry_close(registry_t *r) {
  free(r->host);
  free(r->repo);
  free(r->reference);
  free(r);
}
char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err) {
  (void)r, (void)err;
  FUZZ_MUST(reference[0]);
  kg_str_t s = fuzz_part(answers);
  *n = s.n;
  return (char *)s.p;
}
int registry_blob(registry_t *r, kg_view_t descriptor, int64_t most, const char *file, kg_error_t *err) {
  kg_str_t digest = kg_view_str(kg_view_get(descriptor, "digest"));
  (void)most;
  (void)r;
  if (!image_is_digest(digest)) return kg_error_set(err, KG_EINVAL, "no digest");
  kg_str_t s = fuzz_part(answers);
  fuzz_write(file, s);
  free((char *)s.p);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  answers = &in;
  job_t j = fuzz_job();
  kg_str_t name = fuzz_part(&in);
  j.name = kg_str_dup(name);
  int rc = pull_image(&j, &j.err);
  fuzz_job_end(&j, rc, 1);
  free(j.name);
  free((char *)name.p);
  return 0;
}
