/* Publish MQTT 3.1.1 messages at a steady rate, one connection, and stamp each payload with the time it is sent.
 *
 *   mqtt_load PORT QOS RATE SECONDS LINES TAGS TOPIC_FORMAT
 *
 * TOPIC_FORMAT holds two %d: the line, which changes with every message, and the tag. The payload is {"t":<microseconds UTC>,"value":<number>}.
 * At QoS 1 at most 2,000 messages are unacknowledged. RATE 0 is as fast as it goes. One JSON line tells what was sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 2000, SLICE = 256, SPACE = 1 << 20 };
static long acknowledged;
static uint8_t in[65536];
static size_t held;

static int64_t micros(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fail(const char *what) {
    fprintf(stderr, "mqtt_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Count PUBACKs; every packet that comes here is shorter than 128 bytes. */
static void take(int fd, int wait_ms) {
    struct pollfd one = {fd, POLLIN, 0};
    if (poll(&one, 1, wait_ms) <= 0)
        return;
    ssize_t got = recv(fd, in + held, sizeof in - held, 0);
    if (got <= 0)
        fail("connection ended");
    held += (size_t)got;
    size_t at = 0;
    while (held - at >= 2 && held - at >= (size_t)in[at + 1] + 2) {
        if ((in[at] & 0xf0) == 0x40)
            acknowledged++;
        at += (size_t)in[at + 1] + 2;
    }
    memmove(in, in + at, held - at);
    held -= at;
}

static void put(int fd, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail("send");
            struct pollfd one = {fd, POLLOUT | POLLIN, 0};
            poll(&one, 1, 100);
            take(fd, 0);
            continue;
        }
        data += sent;
        size -= (size_t)sent;
    }
}

static size_t packet(uint8_t *out, int qos, long number, const char *topic, int64_t stamp) {
    char payload[96];
    int size = snprintf(payload, sizeof payload, "{\"t\":%lld,\"value\":%ld.%ld}", (long long)stamp, 20 + number % 60,
                        number % 10);
    size_t length = strlen(topic), rest = 2 + length + (qos ? 2 : 0) + (size_t)size, at = 0;
    out[at++] = (uint8_t)(0x30 | (qos << 1));
    for (size_t left = rest; at < 6;) {
        out[at++] = (uint8_t)((left & 127) | (left > 127 ? 128 : 0));
        left >>= 7;
        if (!left)
            break;
    }
    out[at++] = (uint8_t)(length >> 8);
    out[at++] = (uint8_t)length;
    memcpy(out + at, topic, length);
    at += length;
    if (qos) {
        uint16_t id = (uint16_t)(number % 65535 + 1);
        out[at++] = (uint8_t)(id >> 8);
        out[at++] = (uint8_t)id;
    }
    memcpy(out + at, payload, (size_t)size);
    return at + (size_t)size;
}

int main(int count, char **words) {
    if (count != 8)
        return fprintf(stderr, "usage: mqtt_load PORT QOS RATE SECONDS LINES TAGS TOPIC_FORMAT\n"), 2;
    int qos = atoi(words[2]), lines = atoi(words[5]), topics = lines * atoi(words[6]), on = 1;
    double rate = atof(words[3]), seconds = atof(words[4]);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    uint8_t hello[64] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 0};
    int name = snprintf((char *)hello + 14, 40, "load-%d-%lld", (int)getpid(), (long long)micros(CLOCK_MONOTONIC));
    hello[1] = (uint8_t)(12 + name);
    hello[13] = (uint8_t)name;
    put(fd, hello, (size_t)(14 + name));
    uint8_t answer[4];
    if (recv(fd, answer, 4, MSG_WAITALL) != 4 || answer[0] != 0x20 || answer[3] != 0)
        fail("CONNACK");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    char (*named)[128] = malloc((size_t)topics * sizeof *named);
    for (int n = 0; n < topics; n++)
        snprintf(named[n], sizeof *named, words[7], n % lines, n / lines);
    uint8_t *out = malloc(SPACE);
    long sent = 0;
    int64_t began = micros(CLOCK_MONOTONIC), now = began, end = began + (int64_t)(seconds * 1e6);
    while (now < end) {
        long due = rate > 0 ? (long)((double)(now - began) * rate / 1e6) + 1 : sent + SLICE;
        if (due > sent + SLICE)
            due = sent + SLICE;
        if (qos && due > acknowledged + WINDOW)
            due = acknowledged + WINDOW;
        size_t size = 0;
        int64_t stamp = micros(CLOCK_REALTIME);
        for (; sent < due; sent++)
            size += packet(out + size, qos, sent, named[sent % topics], stamp);
        put(fd, out, size);
        take(fd, size ? 0 : 1);
        now = micros(CLOCK_MONOTONIC);
    }
    double took = (double)(micros(CLOCK_MONOTONIC) - began) / 1e6;
    for (int64_t last = micros(CLOCK_MONOTONIC) + 30000000; qos && acknowledged < sent && micros(CLOCK_MONOTONIC) < last;)
        take(fd, 100);
    const uint8_t bye[2] = {0xe0, 0};
    put(fd, bye, 2);
    printf("{\"sent\": %ld, \"acknowledged\": %ld, \"seconds\": %.3f}\n", sent, acknowledged, took);
    return 0;
}
