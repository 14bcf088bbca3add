/* `kogge image ...` */
#include <stdio.h>

#include "registry.h"

void cli_out(images_t *im, const kg_msg_t *m, const char *key, const void *data, size_t n) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, key);
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_stream_item(im->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

void cli_exit(images_t *im, const kg_msg_t *m, int code) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "exit", code);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_stream_item(im->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
  kg_stream_end(im->ctx, m);
}

void cli_json(images_t *im, const kg_msg_t *m, const kg_doc_t *doc) {
  kube_buf_t b = {0};
  kube_json_write(&b, kg_view_of(doc));
  kube_buf_addz(&b, "\n");
  cli_out(im, m, "out", b.p, b.n);
  kube_buf_free(&b);
}

bool cli_wants_json(const kg_msg_t *m) {
  return kg_str_is(kg_view_str(kg_view_get(kg_msg_args(m), "output")), "json");
}

static void usage(images_t *im, const kg_msg_t *m, int code) {
  static const char text[] = "usage: kogge image import FILE          images of an archive (docker save, OCI layout)\n"
                             "       kogge image pull NAME            an image of a registry\n"
                             "       kogge image list\n"
                             "       kogge image remove NAME...\n"
                             "       kogge image prune                all that no container uses\n"
                             "       kogge image build-rootfs NAME    an image of Debian's busybox-static\n"
                             "Each with -o json.\n";
  cli_out(im, m, code ? "err" : "out", text, sizeof text - 1);
  cli_exit(im, m, code);
}

/* --- list -------------------------------------------------------------------------------------------------------- */

void human_size(int64_t bytes, char out[24]) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  double v = (double)bytes;
  int u = 0;
  while (v >= 1000 && u < 4) v /= 1000, u++;
  snprintf(out, 24, v < 10 && u ? "%.2f%s" : v < 100 && u ? "%.1f%s" : "%.0f%s", v, units[u]);
}

static void add_row(kube_buf_t *b, const char *name, const stored_t *s) {
  char size[24];
  const char *tag = strrchr(name, ':');
  human_size(s->size, size);
  kube_buf_fmt(b, "%-46.*s %-20s %-15.13s %s\n", (int)(tag ? tag - name : (long)strlen(name)), name, tag ? tag + 1 : "",
               s->id + 7, size);
}

/* Pulled by its digest, or its tag has moved on. */
static void add_untagged(kube_buf_t *b, const stored_t *s) {
  char name[600];
  const char *full = s->nnames ? s->names[0] : "<none>";
  snprintf(name, sizeof name, "%.*s:<none>", (int)strcspn(full, "@"), full);
  add_row(b, name, s);
}

static void list_table(images_t *im, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kube_buf_fmt(&b, "%-46s %-20s %-15s %s\n", "IMAGE", "TAG", "IMAGE ID", "SIZE");
  for (const stored_t *s = im->list; s; s = s->next) {
    bool tagged = false;
    for (size_t i = 0; i < s->nnames; i++) {
      if (strchr(s->names[i], '@')) continue;
      tagged = true;
      add_row(&b, s->names[i], s);
    }
    if (!tagged) add_untagged(&b, s);
  }
  cli_out(im, m, "out", b.p, b.n);
  kube_buf_free(&b);
}

static void list(images_t *im, const kg_msg_t *m) {
  if (cli_wants_json(m)) {
    kg_doc_t *doc = images_list_doc(im);
    cli_json(im, m, doc);
    kg_doc_unref(doc);
  } else {
    list_table(im, m);
  }
  cli_exit(im, m, 0);
}

/* --- the words --------------------------------------------------------------------------------------------------- */

static void remove_all(images_t *im, const kg_msg_t *m, kg_view_t argv) {
  char text[700];
  int code = 0, n;
  bool json = cli_wants_json(m);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "removed");
  kg_pack_array(&p);
  for (size_t i = 1; i < kg_view_count(argv); i++) {
    kg_error_t err = {0};
    kg_str_t name = kg_view_str(kg_view_at(argv, i));
    bool ok = images_remove(im, name, &err) == 0;
    n = ok ? snprintf(text, sizeof text, "removed " KG_STR_FMT "\n", KG_STR_ARG(name))
           : snprintf(text, sizeof text, "kogge: %s\n", err.text);
    if (ok && json)
      kg_pack_strn(&p, name);
    else
      cli_out(im, m, ok ? "out" : "err", text, (size_t)n);
    code |= !ok;
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  if (json) cli_json(im, m, doc);
  kg_doc_unref(doc);
  images_sweep(im, m, code);
}

static void prune(images_t *im, const kg_msg_t *m) {
  char text[100], size[24];
  int64_t freed;
  size_t n = images_prune(im, -1, 0, &freed);
  human_size(freed, size);
  int len = cli_wants_json(m) ? snprintf(text, sizeof text, "{\"images\":%zu,\"freed\":%lld}\n", n, (long long)freed)
                              : snprintf(text, sizeof text, "removed %zu image%s, %s\n", n, n == 1 ? "" : "s", size);
  cli_out(im, m, "out", text, (size_t)len);
  images_sweep(im, m, 0);
}

static void import(images_t *im, const kg_msg_t *m, kg_str_t file) {
  char path[IMAGE_PATH];
  kg_str_t cwd = kg_view_str(kg_view_get(kg_msg_args(m), "cwd"));
  if (file.p[0] == '/')
    snprintf(path, sizeof path, KG_STR_FMT, KG_STR_ARG(file));
  else
    snprintf(path, sizeof path, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(cwd), KG_STR_ARG(file));
  job_start(im, m, true, import_archive, kg_str(path), (kg_str_t){0});
}

void images_cli(images_t *im, const kg_msg_t *m) {
  kg_view_t argv = kg_view_get(kg_msg_args(m), "argv");
  kg_str_t word = kg_view_str(kg_view_at(argv, 0)), arg = kg_view_str(kg_view_at(argv, 1));
  size_t n = kg_view_count(argv);
  if ((kg_str_is(word, "list") || kg_str_is(word, "ls")) && n == 1)
    list(im, m);
  else if (kg_str_is(word, "import") && n == 2 && arg.n)
    import(im, m, arg);
  else if (kg_str_is(word, "pull") && n == 2 && arg.n)
    job_start(im, m, true, pull_image, (kg_str_t){0}, arg);
  else if (kg_str_is(word, "build-rootfs") && n == 2 && arg.n)
    job_start(im, m, true, build_rootfs, (kg_str_t){0}, arg);
  else if (kg_str_is(word, "prune") && n == 1)
    prune(im, m);
  else if ((kg_str_is(word, "remove") || kg_str_is(word, "rm")) && n > 1)
    remove_all(im, m, argv);
  else
    usage(im, m, kg_str_is(word, "help") || kg_str_is(word, "--help") ? 0 : 2);
}

/* What may come next: a word, a file, an image that is here. */
void images_complete(images_t *im, const kg_msg_t *m) {
  static const char *const words[] = {"import", "pull", "list", "remove", "prune", "build-rootfs"};
  kg_view_t argv = kg_view_get(kg_msg_args(m), "argv");
  kg_str_t word = kg_view_str(kg_view_at(argv, 0));
  bool removes = kg_str_is(word, "remove") || kg_str_is(word, "rm");
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "words");
  kg_pack_array(&p);
  for (size_t i = 0; !word.n && i < sizeof words / sizeof *words; i++) kg_pack_str(&p, words[i]);
  for (const stored_t *s = im->list; removes && s; s = s->next)
    for (size_t i = 0; i < s->nnames; i++) kg_pack_str(&p, s->names[i]);
  kg_pack_end(&p);
  kg_pack_kv_bool(&p, "files", kg_str_is(word, "import") && kg_view_count(argv) == 1);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(im->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}
