// The load client of the benchmarks: sends a request again and again and checks every answer whole.
//
//   load PORT REQUEST_FILE NAME=VALUE ...
//
// REQUEST_FILE holds the bytes of a request, head and body. What may be named:
//   connections  kept alive, one request in flight on each; 1
//   requests     how many in all; 0 is without end
//   events       `data:` lines besides [DONE] that an answer must have; 0 is an answer that is no stream
//   rate         requests a second over all connections, due at times fixed in advance: latency counts from the time a
//                request was due. 0 is as fast as they are answered
//   ramp         seconds over which the connections begin, so that they are out of step
//   warm, window seconds: what happens in the window after the warm-up is counted. The lines `begin` and `end` say when
//                it does, and the run ends with it. Without a window all counts
//   variants     the file holds so many requests of equal size, which are sent in turn; 1
//   limit        seconds after which the run ends; 60
//   times        a descriptor to which goes the CLOCK_MONOTONIC time in nanoseconds of each good answer, one a line
// The last line is one of JSON. `open` are the streams that had begun and had not ended when the run did.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

enum { READ_SIZE = 1 << 18, HEAD_SIZE = 16384, LINE_SIZE = 64, MOST_KEPT = 1 << 22 };
enum state { IDLE, HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS };

struct connection {
    int fd, begun;
    enum state state;
    int status, chunked, keep, events, done, trailer;
    long left;  // Bytes to come of the body or of the chunk; -1 is up to the end of the connection.
    size_t sent, head_size, line_size, digits;
    char head[HEAD_SIZE], line[LINE_SIZE], hexadecimal[24];
    const char *request;
    u64 began, last_event;
};

// Times in microseconds; those beyond the first MOST_KEPT are counted and not kept.
struct times {
    unsigned *values;
    u64 count;
};

static struct {
    char *request;
    size_t request_size;
    int port, poller, timer, counting;
    u64 last;
    double connections, requests, events, rate, ramp, warm, window, variants, limit, times;
    u64 started, finished, good, bad_status, not_whole, broken, seen, late;
    u64 begin, interval;
    int last_status;
    struct times latency, gaps;
    FILE *written;
} run = {.connections = 1, .variants = 1, .limit = 60, .times = -1};

static const struct {
    const char *name;
    double *value;
} options[] = {
    {"connections", &run.connections}, {"requests", &run.requests}, {"events", &run.events}, {"rate", &run.rate},
    {"ramp", &run.ramp},               {"warm", &run.warm},         {"window", &run.window}, {"limit", &run.limit},
    {"variants", &run.variants},       {"times", &run.times},
};

static u64 now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (u64)time.tv_sec * 1000000000ull + (u64)time.tv_nsec;
}

static void keep(struct times *times, u64 nanoseconds) {
    if (times->count < MOST_KEPT) times->values[times->count] = (unsigned)(nanoseconds / 1000);
    times->count++;
}

static void connect_to_product(struct connection *c) {
    int one = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((unsigned short)run.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(c->fd, (void *)&address, sizeof address);
    epoll_ctl(run.poller, EPOLL_CTL_ADD, c->fd, &interest);
}

static void write_rest(struct connection *c) {
    while (c->sent < run.request_size) {
        ssize_t written = write(c->fd, c->request + c->sent, run.request_size - c->sent);
        if (written <= 0) return;
        c->sent += (size_t)written;
    }
}

static int all_started(void) {
    return run.requests > 0 && run.started >= (u64)run.requests;
}

// Starts the next request on an idle connection when one is due.
static void start(struct connection *c, u64 at) {
    u64 due = run.begin + run.interval * run.started;
    if (all_started() || at < due) return;
    c->request = run.request + run.request_size * (run.started++ % (u64)run.variants);
    c->state = HEAD;
    c->head_size = c->line_size = c->digits = c->sent = 0;
    c->status = c->events = c->done = c->trailer = 0;
    c->last_event = 0;
    c->began = run.interval ? due : at;
    if (run.interval && at > due + 1000000) run.late++;
    write_rest(c);
}

static void judge(const struct connection *c, u64 at) {
    int whole = run.events > 0 ? c->events == (int)run.events && c->done : !c->events;
    if (c->status != 200) {
        run.bad_status++;
        run.last_status = c->status;
    } else if (!whole) {
        run.not_whole++;
    } else {
        run.good++;
        keep(&run.latency, at - c->began);
        if (run.written) fprintf(run.written, "%llu\n", at);
    }
}

static void finish(struct connection *c, u64 at) {
    c->state = IDLE;
    run.finished++;
    if (run.counting) judge(c, at);
    if (!c->keep) {
        close(c->fd);
        connect_to_product(c);
    }
    start(c, at);
}

static void read_event(struct connection *c, u64 at) {
    c->events++;
    if (run.counting) {
        run.seen++;
        if (c->last_event) keep(&run.gaps, at - c->last_event);
    }
    c->last_event = at;
}

static void read_body(struct connection *c, const char *data, size_t size, u64 at) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n') {
            if (c->line_size < LINE_SIZE) c->line[c->line_size++] = data[i];
            continue;
        }
        if (c->line_size >= 12 && !memcmp(c->line, "data: [DONE]", 12)) c->done = 1;
        else if (c->line_size >= 5 && !memcmp(c->line, "data:", 5)) read_event(c, at);
        c->line_size = 0;
    }
}

// Takes one byte of the head; at its end decides how the body is framed.
static void read_head(struct connection *c, char byte, u64 at) {
    if (c->head_size < HEAD_SIZE - 1) c->head[c->head_size++] = byte;
    if (c->head_size < 4 || memcmp(c->head + c->head_size - 4, "\r\n\r\n", 4)) return;
    c->head[c->head_size] = 0;
    c->status = atoi(c->head + 9);
    c->chunked = strcasestr(c->head, "transfer-encoding: chunked") != NULL;
    c->keep = strcasestr(c->head, "connection: close") == NULL;
    char *length = strcasestr(c->head, "content-length:");
    c->left = length ? atol(length + 15) : -1;
    c->state = c->chunked ? CHUNK_SIZE : BODY;
    if (!c->chunked && c->left == 0) finish(c, at);
}

static void read_chunk_size(struct connection *c, char byte) {
    if (byte != '\n') {
        if (byte != '\r' && c->digits < sizeof c->hexadecimal - 1) c->hexadecimal[c->digits++] = byte;
        return;
    }
    c->hexadecimal[c->digits] = 0;
    c->digits = 0;
    c->left = strtol(c->hexadecimal, NULL, 16);
    c->state = c->left ? CHUNK_DATA : TRAILERS;
}

static void read_trailer(struct connection *c, char byte, u64 at) {
    if (byte == '\n' && c->trailer == 0) finish(c, at);
    else if (byte == '\n') c->trailer = 0;
    else if (byte != '\r') c->trailer++;
}

static void take(struct connection *c, const char *data, size_t size, u64 at) {
    size_t i = 0;
    // What is read late, by a client that did not get its turn, has not happened in the window.
    if (run.window > 0 && at >= run.last) run.counting = 0;
    while (i < size && c->state != IDLE) {
        if (c->state == HEAD) read_head(c, data[i++], at);
        else if (c->state == CHUNK_SIZE) read_chunk_size(c, data[i++]);
        else if (c->state == CHUNK_END) c->state = data[i++] == '\n' ? CHUNK_SIZE : CHUNK_END;
        else if (c->state == TRAILERS) read_trailer(c, data[i++], at);
        else {
            size_t part = size - i;
            if (c->left >= 0 && part > (size_t)c->left) part = (size_t)c->left;
            read_body(c, data + i, part, at);
            i += part;
            if (c->left >= 0 && (c->left -= (long)part) == 0) {
                if (c->state == CHUNK_DATA) c->state = CHUNK_END;
                else finish(c, at);
            }
        }
    }
}

static void serve(struct connection *c, unsigned happened) {
    static char data[READ_SIZE];
    if (c->state != IDLE && c->sent < run.request_size) write_rest(c);
    while (happened & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int fd = c->fd;
        ssize_t got = read(fd, data, sizeof data);
        if (got > 0) {
            take(c, data, (size_t)got, now());
            if (fd != c->fd) return;
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else if (got < 0 && errno == EAGAIN) {
            return;
        } else {
            if (c->state == BODY && c->left < 0) {
                c->keep = 0;
                finish(c, now());
                return;
            }
            if (c->state != IDLE) {
                c->state = IDLE;
                if (run.counting) run.broken++;
                run.finished++;
            }
            close(fd);
            connect_to_product(c);
            return;
        }
    }
}

static int by_size(const void *left, const void *right) {
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    return (a > b) - (a < b);
}

static double milliseconds(const struct times *times, double share) {
    u64 kept = times->count < MOST_KEPT ? times->count : MOST_KEPT;
    return kept ? times->values[(size_t)((double)(kept - 1) * share)] / 1000.0 : 0;
}

static void sort(struct times *times) {
    qsort(times->values, times->count < MOST_KEPT ? times->count : MOST_KEPT, sizeof(unsigned), by_size);
}

static double processor_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

// Reads NAME=VALUE; returns 0 for what is unknown.
static int take_option(const char *argument) {
    const char *equals = strchr(argument, '=');
    for (size_t i = 0; equals && i < sizeof options / sizeof *options; i++) {
        size_t size = strlen(options[i].name);
        if (size == (size_t)(equals - argument) && !memcmp(argument, options[i].name, size)) {
            *options[i].value = atof(equals + 1);
            return 1;
        }
    }
    return 0;
}

static int read_requests(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file || fseek(file, 0, SEEK_END)) return 0;
    size_t size = (size_t)ftell(file);
    rewind(file);
    run.request = malloc(size + 1);
    run.request_size = size / (size_t)run.variants;
    int whole = run.request && fread(run.request, 1, size, file) == size;
    fclose(file);
    return whole && run.request_size > 0;
}

static int prepare(int count, char **arguments) {
    if (count < 3) return 0;
    run.port = atoi(arguments[1]);
    for (int i = 3; i < count; i++)
        if (!take_option(arguments[i])) return 0;
    run.latency.values = calloc(MOST_KEPT, sizeof(unsigned));
    run.gaps.values = calloc(MOST_KEPT, sizeof(unsigned));
    run.written = run.times >= 0 ? fdopen((int)run.times, "w") : NULL;
    run.poller = epoll_create1(0);
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    run.interval = run.rate > 0 ? (u64)(1e9 / run.rate) : 0;
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(run.poller, EPOLL_CTL_ADD, run.timer, &interest);
    return run.connections >= 1 && run.variants >= 1 && run.latency.values && run.gaps.values &&
           read_requests(arguments[2]);
}

// Wakes the loop when the next request is due.
static void set_timer(u64 at) {
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000000000ull), .tv_nsec = (long)(at % 1000000000ull)}};
    timerfd_settime(run.timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void mark(const char *what) {
    puts(what);
    fflush(stdout);
}

static void start_idle(struct connection *all, int connections, u64 at) {
    for (int i = 0; i < connections && !all_started(); i++) {
        if (!all[i].begun && (double)(at - run.begin) < run.ramp * 1e9 * i / connections) break;
        all[i].begun = 1;
        if (all[i].state == IDLE) start(&all[i], at);
    }
    if (run.interval && !all_started()) set_timer(run.begin + run.interval * run.started);
}

static void work(struct connection *all, int connections) {
    u64 begin_counting = run.begin + (u64)(run.warm * 1e9);
    run.last = run.begin + (u64)(run.limit * 1e9);
    if (run.window > 0) run.last = begin_counting + (u64)(run.window * 1e9);
    run.counting = run.window == 0;
    for (u64 at = now(); at < run.last && (run.requests == 0 || run.finished < (u64)run.requests); at = now()) {
        struct epoll_event ready[1024];
        if (!run.counting && at >= begin_counting) {
            run.counting = 1;
            mark("begin");
        }
        start_idle(all, connections, at);
        int found = epoll_wait(run.poller, ready, 1024, run.ramp > 0 ? 1 : 10);
        for (int i = 0; i < found; i++)
            if (ready[i].data.ptr) serve(ready[i].data.ptr, ready[i].events);
    }
    run.counting = 0;
    if (run.window > 0) mark("end");
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    if (!prepare(count, arguments)) return 2;
    int connections = (int)run.connections;
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (!all) return 2;
    run.begin = now();
    for (int i = 0; i < connections; i++) connect_to_product(&all[i]);
    work(all, connections);
    int open = 0;
    for (int i = 0; i < connections; i++) open += all[i].state != IDLE && all[i].events > 0;
    double seconds = run.window > 0 ? run.window : (double)(now() - run.begin) / 1e9;
    sort(&run.latency);
    sort(&run.gaps);
    printf("{\"seconds\":%.4f,\"good\":%llu,\"bad_status\":%llu,\"not_whole\":%llu,\"broken\":%llu,\"last_status\":%d,"
           "\"late\":%llu,\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"events\":%llu,"
           "\"gap_p50_ms\":%.3f,\"gap_p99_ms\":%.3f,\"gap_max_ms\":%.3f,\"open\":%d,\"processor_seconds\":%.4f}\n",
           seconds, run.good, run.bad_status, run.not_whole, run.broken, run.last_status, run.late,
           (double)run.good / seconds, milliseconds(&run.latency, 0.5), milliseconds(&run.latency, 0.99),
           milliseconds(&run.latency, 1), run.seen, milliseconds(&run.gaps, 0.5), milliseconds(&run.gaps, 0.99),
           milliseconds(&run.gaps, 1), open, processor_seconds());
    if (run.written) fclose(run.written);
    return 0;
}
