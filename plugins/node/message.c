/* What a container says of its end: the file at its terminationMessagePath, or the last lines of its log. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

enum { MESSAGE_MAX = 4096, LOG_MAX = 2048, LOG_LINES = 80, LOG_READ = 64 * 1024 };

/* The last `most` bytes of a file; malloc'ed with a NUL, NULL: cannot be read. */
static char *read_end(const char *path, size_t most, size_t *n) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  struct stat st;
  if (fd < 0) return NULL;
  char *text = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? malloc(most + 1) : NULL;
  ssize_t got = -1;
  if (text) got = pread(fd, text, most, st.st_size > (off_t)most ? st.st_size - (off_t)most : 0);
  close(fd);
  *n = got > 0 ? (size_t)got : 0;
  if (text) text[*n] = 0;
  return text;
}

/* What follows "TIME STREAM TAG " of a log line; whole: the tag says that what was written ended the line, too. */
static kg_str_t content(const char *line, size_t n, bool *whole) {
  const char *p = line, *end = line + n;
  for (int word = 0; word < 3; word++) {
    const char *space = memchr(p, ' ', (size_t)(end - p));
    if (!space) return (kg_str_t){end, 0};
    *whole = *p == 'F';
    p = space + 1;
  }
  return (kg_str_t){p, (size_t)(end - p)};
}

static char *log_end(const box_t *b) {
  char path[4096];
  size_t n, begin = 0, lines = 0;
  box_log_path(b, b->attempt, path, sizeof path);
  char *text = read_end(path, LOG_READ, &n);
  for (size_t i = n; text && i-- > 0 && !begin;)
    if (text[i] == '\n' && i + 1 < n && ++lines == LOG_LINES) begin = i + 1;
  kube_buf_t out = {0};
  for (size_t i = begin; text && i < n;) {
    size_t len = strcspn(text + i, "\n");
    bool whole = true;
    kg_str_t c = content(text + i, len, &whole);
    kube_buf_add(&out, c.p, c.n);
    if (whole) kube_buf_addz(&out, "\n");
    i += len + 1;
  }
  free(text);
  size_t skip = out.n > LOG_MAX ? out.n - LOG_MAX : 0;
  char *said = out.n ? strndup(out.p + skip, out.n - skip) : NULL;
  kube_buf_free(&out);
  return said;
}

/* Text of the API is UTF-8; what is not becomes a question mark. */
static void make_valid(char *text) {
  for (unsigned char *p = (unsigned char *)text; *p;) {
    int more = *p < 0x80 ? 0 : *p >= 0xf0 && *p < 0xf5 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc2 ? 1 : -1;
    bool good = more >= 0 && *p < 0xf5;
    for (int i = 1; good && i <= more; i++) good = (p[i] & 0xc0) == 0x80;
    if (good && *p == 0xe0) good = p[1] >= 0xa0;
    if (good && *p == 0xed) good = p[1] < 0xa0;
    if (good && *p == 0xf0) good = p[1] >= 0x90;
    if (good && *p == 0xf4) good = p[1] < 0x90;
    if (!good) *p = '?';
    p += good ? more + 1 : 1;
  }
}

char *box_termination_message(box_t *b) {
  char path[4096];
  size_t n;
  box_message_path(b, b->attempt, path, sizeof path);
  char *text = read_end(path, MESSAGE_MAX, &n);
  bool from_log = kg_str_is(VIEW_STR(box_spec(b), "terminationMessagePolicy"), "FallbackToLogsOnError");
  if ((!text || !*text) && from_log && b->end.exit != 0) set_str(&text, log_end(b));
  if (text && !*text) set_str(&text, NULL);
  if (text) make_valid(text);
  return text;
}
