/* An image from a registry: manifest for this machine, configuration, then the layers that are not here yet. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry.h"

enum { MAX_CONFIG = 4 << 20, MAX_LAYERS = 500 /* overlayfs stacks no more */ };

typedef struct pull {
  job_t *j;
  registry_t *r;
  char dir[IMAGE_PATH];
  char digest[8 + HEX]; /* of what the name led to */
} pull_t;

static bool one_of(kg_str_t s, const char *const names[]) {
  while (*names && !kg_str_is(s, *names)) names++;
  return *names;
}

/* What the document says it is, or else the answer's header; a manifest without either goes by what is in it. */
static int check_type(const registry_t *r, kg_view_t manifest, kg_error_t *err) {
  static const char *const known[] = {"application/vnd.oci.image.index.v1+json",
                                      "application/vnd.oci.image.manifest.v1+json",
                                      "application/vnd.docker.distribution.manifest.list.v2+json",
                                      "application/vnd.docker.distribution.manifest.v2+json", NULL};
  kg_str_t own = kg_view_str(kg_view_get(manifest, "mediaType"));
  const char *header = r->type ? r->type + strspn(r->type, " ") : "";
  kg_str_t type = own.n ? own : (kg_str_t){header, strcspn(header, "; ")};
  bool index = kg_view_there(kg_view_get(manifest, "manifests")),
       image = kg_view_there(kg_view_get(manifest, "layers"));
  if (type.n && !kg_str_is(type, "application/json") && !one_of(type, known))
    return kg_error_set(err, KG_EINVAL, "the registry's answer has the media type \"%.*s\", which is no image manifest",
                        CUT_ARG(type));
  if (index == image)
    return kg_error_set(err, KG_EINVAL, "the manifest has %s", index ? "both manifests and layers" : "no layers");
  return 0;
}

/* A manifest asked for by its digest must be what the digest says. */
static kg_doc_t *read_manifest(pull_t *p, const char *reference, kg_error_t *err) {
  char digest[8 + HEX];
  size_t n;
  char *text = registry_manifest(p->r, reference, &n, err);
  if (!text) return NULL;
  text_digest(text, n, digest);
  kg_doc_t *doc = NULL;
  if (!strncmp(reference, "sha256:", 7) && strcmp(reference, digest))
    kg_error_set(err, KG_EUNAVAILABLE, "the registry's answer for %s has the digest %s", reference, digest);
  else if (!(doc = kube_json_parse(text, n, NULL, NULL, err)))
    kg_error_prefix(err, "the manifest cannot be read");
  else if (check_type(p->r, kg_view_of(doc), err) < 0) {
    kg_doc_unref(doc);
    doc = NULL;
  }
  if (!p->digest[0]) memcpy(p->digest, digest, sizeof digest);
  free(text);
  return doc;
}

static bool for_us(kg_view_t descriptor) {
  kg_view_t platform = kg_view_get(descriptor, "platform");
  kg_str_t os = kg_view_str(kg_view_get(platform, "os")), arch = kg_view_str(kg_view_get(platform, "architecture"));
  return kg_str_is(os, "linux") && kg_str_is(arch, image_architecture());
}

/* The manifest for this machine, through an index if the name leads to one. */
static kg_doc_t *find_manifest(pull_t *p, kg_error_t *err) {
  kg_doc_t *doc = read_manifest(p, p->r->reference, err);
  kg_view_t list = kg_view_get(kg_view_of(doc), "manifests");
  if (!doc || !kg_view_there(list)) return doc;
  char *own = NULL;
  for (kg_iter_t it = kg_iter(list); !own && kg_iter_next(&it);)
    if (for_us(it.value)) own = kg_str_dup(kg_view_str(kg_view_get(it.value, "digest")));
  kg_doc_unref(doc);
  if (!own) {
    kg_error_set(err, KG_ENOTFOUND, "no match for platform linux/%s in manifest", image_architecture());
    return NULL;
  }
  doc = NULL;
  if (image_is_digest(kg_str(own)))
    doc = read_manifest(p, own, err); /* of a further index, its configuration is found missing */
  else
    kg_error_set(err, KG_EINVAL, "the index names a manifest by \"%.100s\", which is no SHA-256 digest", own);
  free(own);
  return doc;
}

static stored_t *read_config(pull_t *p, kg_view_t manifest, kg_error_t *err) {
  char file[IMAGE_PATH + 80];
  struct stat st;
  snprintf(file, sizeof file, "%s/config", p->dir);
  if (registry_blob(p->r, kg_view_get(manifest, "config"), MAX_CONFIG, file, err) < 0) return NULL;
  FILE *f = fopen(file, "re");
  char *text = f && fstat(fileno(f), &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
  size_t n = text ? fread(text, 1, (size_t)st.st_size, f) : 0;
  if (f) fclose(f);
  stored_t *s = text ? stored_of_config(text, n, err) : NULL;
  if (!text) kg_error_set(err, KG_EINVAL, "the image configuration cannot be read");
  free(text);
  return s;
}

static bool is_layer(kg_view_t descriptor) {
  static const char *const known[] = {"application/vnd.oci.image.layer.v1.tar",
                                      "application/vnd.oci.image.layer.v1.tar+gzip",
                                      "application/vnd.oci.image.layer.v1.tar+zstd",
                                      "application/vnd.oci.image.layer.nondistributable.v1.tar",
                                      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                                      "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                                      "application/vnd.docker.image.rootfs.diff.tar",
                                      "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                      "application/vnd.docker.image.rootfs.diff.tar.zstd",
                                      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                                      NULL};
  kg_str_t type = kg_view_str(kg_view_get(descriptor, "mediaType"));
  return !type.n || one_of(type, known);
}

static int check_layers(kg_view_t layers, size_t expected, kg_error_t *err) {
  if (kg_view_count(layers) != expected)
    return kg_error_set(err, KG_EINVAL, "the manifest has %zu layers, but the configuration speaks of %zu",
                        kg_view_count(layers), expected);
  if (expected > MAX_LAYERS)
    return kg_error_set(err, KG_EINVAL, "the image has %zu layers; no more than %d can be stacked", expected,
                        MAX_LAYERS);
  for (kg_iter_t it = kg_iter(layers); kg_iter_next(&it);)
    if (!is_layer(it.value)) {
      kg_str_t type = kg_view_str(kg_view_get(it.value, "mediaType"));
      return kg_error_set(err, KG_EINVAL, "a layer has the media type \"%.*s\", which is no layer of an image",
                          CUT_ARG(type));
    }
  return 0;
}

static int make_layer(pull_t *p, stored_t *s, size_t i, kg_view_t descriptor, kg_error_t *err) {
  char file[IMAGE_PATH + 80], place[IMAGE_PATH + 80], expected[8 + HEX];
  int64_t size;
  kg_str_t digest = kg_view_str(kg_view_get(descriptor, "digest"));
  snprintf(place, sizeof place, "%s/layers/%s", p->j->im->dir, s->layers[i]);
  snprintf(file, sizeof file, "%s/layer", p->dir);
  bool here = access(place, F_OK) == 0;
  job_say(p->j, "layer %zu of %zu: %.12s %s", i + 1, s->nlayers, digest.n > 19 ? digest.p + 7 : "",
          here ? "is here" : "is pulled");
  if (!here && registry_blob(p->r, descriptor, INT64_MAX, file, err) < 0) return -1;
  snprintf(expected, sizeof expected, "sha256:%s", s->layers[i]);
  int done = unpack_layer(p->j, file, kg_str(expected), &size, err);
  unlink(file);
  s->size += size;
  return done;
}

static int pull_layer(pull_t *p, stored_t *s, size_t i, kg_view_t descriptor, kg_error_t *err) {
  if (!layer_claim(p->j, s->layers[i])) return kg_error_set(err, KG_ECANCELLED, "the runtime stops");
  int done = make_layer(p, s, i, descriptor, err);
  layer_release(p->j, s->layers[i]);
  return done;
}

static int pull_parts(pull_t *p, stored_t *s, kg_view_t manifest, kg_error_t *err) {
  kg_view_t layers = kg_view_get(manifest, "layers");
  size_t i = 0;
  if (check_layers(layers, s->nlayers, err) < 0) return -1;
  for (kg_iter_t it = kg_iter(layers); kg_iter_next(&it); i++)
    if (pull_layer(p, s, i, it.value, err) < 0) return -1;
  return 0;
}

/* The image goes by the name that was asked for, and by its digest. */
static int name_image(const pull_t *p, stored_t *s, const char *full, kg_error_t *err) {
  char *by_digest = NULL;
  int n = asprintf(&by_digest, "%s/%s@%s", p->r->host, p->r->repo, p->digest);
  bool bad = n < 0 || stored_add_name(s, full) || (strcmp(full, by_digest) && stored_add_name(s, by_digest));
  if (n >= 0) free(by_digest);
  return bad ? kg_error_set(err, KG_EINTERNAL, "out of memory") : 0;
}

static int pull_all(pull_t *p, const char *full, kg_error_t *err) {
  kg_doc_t *manifest = find_manifest(p, err);
  stored_t *s = manifest ? read_config(p, kg_view_of(manifest), err) : NULL;
  int done = s && pull_parts(p, s, kg_view_of(manifest), err) == 0 ? name_image(p, s, full, err) : -1;
  if (done == 0)
    done = job_add(p->j, s);
  else
    stored_free(s);
  kg_doc_unref(manifest);
  return done;
}

int pull_image(job_t *j, kg_error_t *err) {
  pull_t p = {.j = j};
  char *full = image_name_full(kg_str(j->name), err);
  int done = full ? temporary_dir(j->im, p.dir, err) : -1;
  if (done == 0) {
    job_say(j, "pulling %s", full);
    p.r = registry_open(j, full, err);
    done = p.r ? pull_all(&p, full, err) : -1;
    if (done < 0) kg_error_prefix(err, "failed to pull image \"%s\"", full);
    if (p.r) registry_close(p.r);
    tree_remove(p.dir);
  }
  free(full);
  return done;
}
