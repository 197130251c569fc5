// The load client of the benchmarks: sends one request again and again and checks every answer whole.
//
//   load PORT REQUEST_FILE CONNECTIONS REQUESTS EVENTS RATE LIMIT_SECONDS [TIMES_FILE]
//
// REQUEST_FILE holds the bytes of the request, head and body. CONNECTIONS are kept alive and have one request in flight
// each. EVENTS is how many `data:` lines besides [DONE] an answer must have; 0 is an answer that is no stream. RATE is
// requests a second over all connections; 0 is as fast as they are answered. TIMES_FILE gets the CLOCK_MONOTONIC time
// in nanoseconds at which each good answer was complete, one a line. Prints one line of JSON.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

enum { READ_SIZE = 1 << 18, HEAD_SIZE = 16384, LINE_SIZE = 64, MOST_EVENTS = 1024 };
enum state { IDLE, HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS };

struct connection {
    int fd;
    enum state state;
    int status, chunked, keep, events, done, trailer;
    long left;  // Bytes to come of the body or of the chunk; -1 is up to the end of the connection.
    size_t sent, head_size, line_size, digits;
    char head[HEAD_SIZE], line[LINE_SIZE], hexadecimal[24];
    u64 began;
};

static struct {
    char *request;
    size_t request_size;
    int port, poller, events;
    u64 wanted, started, finished, good, bad_status, not_whole, broken;
    u64 begin, interval;
    int last_status;
    unsigned *latency_us;
    FILE *times;
} run;

static u64 now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (u64)time.tv_sec * 1000000000ull + (u64)time.tv_nsec;
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
        ssize_t written = write(c->fd, run.request + c->sent, run.request_size - c->sent);
        if (written <= 0) return;
        c->sent += (size_t)written;
    }
}

// Starts the next request on an idle connection when one is due.
static void start(struct connection *c, u64 at) {
    if (run.started >= run.wanted || at < run.begin + run.interval * run.started) return;
    run.started++;
    c->state = HEAD;
    c->head_size = c->line_size = c->digits = c->sent = 0;
    c->status = c->events = c->done = c->trailer = 0;
    c->began = at;
    write_rest(c);
}

static void finish(struct connection *c, u64 at) {
    c->state = IDLE;
    run.finished++;
    if (c->status != 200) {
        run.bad_status++;
        run.last_status = c->status;
    } else if (run.events ? c->events != run.events || !c->done : c->events) {
        run.not_whole++;
    } else {
        run.latency_us[run.good++] = (unsigned)((at - c->began) / 1000);
        if (run.times) fprintf(run.times, "%llu\n", at);
    }
    if (!c->keep) {
        close(c->fd);
        connect_to_product(c);
    }
    start(c, at);
}

static void read_body(struct connection *c, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != '\n') {
            if (c->line_size < LINE_SIZE) c->line[c->line_size++] = data[i];
            continue;
        }
        if (c->line_size >= 12 && !memcmp(c->line, "data: [DONE]", 12)) c->done = 1;
        else if (c->line_size >= 5 && !memcmp(c->line, "data:", 5)) c->events++;
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
    while (i < size && c->state != IDLE) {
        if (c->state == HEAD) read_head(c, data[i++], at);
        else if (c->state == CHUNK_SIZE) read_chunk_size(c, data[i++]);
        else if (c->state == CHUNK_END) c->state = data[i++] == '\n' ? CHUNK_SIZE : CHUNK_END;
        else if (c->state == TRAILERS) read_trailer(c, data[i++], at);
        else {
            size_t part = size - i;
            if (c->left >= 0 && part > (size_t)c->left) part = (size_t)c->left;
            read_body(c, data + i, part);
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
                run.broken++;
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

static double milliseconds(double share) {
    return run.good ? run.latency_us[(size_t)((double)(run.good - 1) * share)] / 1000.0 : 0;
}

int main(int count, char **arguments) {
    if (count < 8) return 2;
    signal(SIGPIPE, SIG_IGN);
    run.port = atoi(arguments[1]);
    FILE *file = fopen(arguments[2], "r");
    int connections = atoi(arguments[3]);
    run.wanted = strtoull(arguments[4], NULL, 10);
    run.events = atoi(arguments[5]);
    double rate = atof(arguments[6]), limit = atof(arguments[7]);
    run.times = count > 8 ? fopen(arguments[8], "w") : NULL;
    run.request = malloc(READ_SIZE);
    run.latency_us = calloc(run.wanted + 1, sizeof(unsigned));
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (!file || !run.request || !run.latency_us || !all) return 2;
    run.request_size = fread(run.request, 1, READ_SIZE, file);
    run.poller = epoll_create1(0);
    run.interval = rate > 0 ? (u64)(1e9 / rate) : 0;
    run.begin = now();
    u64 last = run.begin + (u64)(limit * 1e9);
    for (int i = 0; i < connections; i++) connect_to_product(&all[i]);
    while (run.finished < run.wanted && now() < last) {
        struct epoll_event ready[1024];
        for (int i = 0; i < connections && run.started < run.wanted; i++)
            if (all[i].state == IDLE) start(&all[i], now());
        int found = epoll_wait(run.poller, ready, 1024, run.interval ? 1 : 10);
        for (int i = 0; i < found; i++) serve(ready[i].data.ptr, ready[i].events);
    }
    double seconds = (double)(now() - run.begin) / 1e9;
    qsort(run.latency_us, run.good, sizeof(unsigned), by_size);
    printf("{\"seconds\":%.4f,\"good\":%llu,\"bad_status\":%llu,\"not_whole\":%llu,\"broken\":%llu,\"last_status\":%d,"
           "\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           seconds, run.good, run.bad_status, run.not_whole, run.broken, run.last_status, (double)run.good / seconds,
           milliseconds(0.5), milliseconds(0.99), milliseconds(1));
    if (run.times) fclose(run.times);
    return 0;
}
