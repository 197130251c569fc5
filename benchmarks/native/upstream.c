// The upstream of the benchmarks: answers chat completions at once, with as little processor time as possible.
//
//   upstream CHUNKS
//
// Listens on a free port of 127.0.0.1 and prints it. A request whose body asks for a stream gets CHUNKS content chunks
// in as many writes, a usage chunk and [DONE]; any other gets one small completion. A body with the words `every N ms`
// has its chunks so far apart, at times fixed with the first. A body that is no whole object gets 400.
// One thread a connection.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 22, STACK = 1 << 17, BACKLOG = 4096 };

static const char COMPLETION[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"gpt-5-mini\","
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello, what can I do for you?\"},"
    "\"logprobs\":null,\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":11,\"total_tokens\":23}}";
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char CHUNK[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"gpt-5-mini\",\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"word%d \"},"
    "\"finish_reason\":%s}]}\n\n";
static const char LAST_CHUNKS[] =
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"gpt-5-mini\",\"choices\":[],"
    "\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":64,\"total_tokens\":76}}\n\ndata: [DONE]\n\n";

static const char REFUSAL[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

static int chunks;

static int write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written <= 0) return -1;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

static int refuse(int fd) {
    return write_all(fd, REFUSAL, strlen(REFUSAL));
}

static int write_completion(int fd) {
    char reply[2048];
    int size = snprintf(reply, sizeof reply,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        strlen(COMPLETION), COMPLETION);
    return write_all(fd, reply, (size_t)size);
}

static int write_chunk(int fd, const char *data, const char *after) {
    char framed[1200];
    int size = snprintf(framed, sizeof framed, "%zx\r\n%s\r\n%s", strlen(data), data, after);
    return write_all(fd, framed, (size_t)size);
}

static long milliseconds_apart(const char *body, size_t size) {
    const char *found = memmem(body, size, "every ", 6);
    char *end;
    long number = found ? strtol(found + 6, &end, 10) : 0;
    return number > 0 && !memcmp(end, " ms", 3) ? number : 0;
}

static void wait_until_next(struct timespec *at, long milliseconds) {
    at->tv_sec += milliseconds / 1000;
    at->tv_nsec += milliseconds % 1000 * 1000000;
    if (at->tv_nsec >= 1000000000) {
        at->tv_nsec -= 1000000000;
        at->tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL);
}

static int write_stream(int fd, long apart) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    if (write_all(fd, STREAM_HEAD, strlen(STREAM_HEAD))) return -1;
    for (int i = 0; i < chunks; i++) {
        char data[1024];
        snprintf(data, sizeof data, CHUNK, i ? "" : "\"role\":\"assistant\",", i,
                 i == chunks - 1 ? "\"stop\"" : "null");
        if (write_chunk(fd, data, "")) return -1;
        if (apart) wait_until_next(&at, apart);
    }
    return write_chunk(fd, LAST_CHUNKS, "0\r\n\r\n");
}

// Reads one request into `buffer`; returns the size of head and body together, 0 when the peer is gone.
static size_t read_request(int fd, char *buffer, size_t *filled, size_t *head) {
    char *end;
    while (!(end = memmem(buffer, *filled, "\r\n\r\n", 4))) {
        ssize_t got = read(fd, buffer + *filled, BUFFER - *filled - 1);
        if (got <= 0) return 0;
        *filled += (size_t)got;
    }
    buffer[*filled] = 0;
    *head = (size_t)(end - buffer) + 4;
    char *length = strcasestr(buffer, "content-length:");
    size_t whole = *head + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
    if (whole >= BUFFER) return 0;
    while (*filled < whole) {
        ssize_t got = read(fd, buffer + *filled, BUFFER - *filled - 1);
        if (got <= 0) return 0;
        *filled += (size_t)got;
    }
    return whole;
}

static int answer(int fd, const char *body, size_t size) {
    if (size < 2 || body[0] != '{' || body[size - 1] != '}') return refuse(fd);
    int stream = memmem(body, size, "\"stream\":true", 13) || memmem(body, size, "\"stream\": true", 14);
    return stream ? write_stream(fd, milliseconds_apart(body, size)) : write_completion(fd);
}

static void *serve(void *argument) {
    int fd = (int)(long)argument;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *buffer = malloc(BUFFER);
    size_t filled = 0, head, size;
    while (buffer && (size = read_request(fd, buffer, &filled, &head)) > 0) {
        const char *body = buffer + head;
        if (answer(fd, body, size - head)) break;
        memmove(buffer, buffer + size, filled - size);
        filled -= size;
    }
    close(fd);
    free(buffer);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    chunks = atoi(arguments[1]);
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (void *)&address, size) || listen(listener, BACKLOG) ||
        getsockname(listener, (void *)&address, &size)) {
        perror("upstream");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd >= 0 && pthread_create(&thread, &attributes, serve, (void *)(long)fd)) close(fd);
    }
}
