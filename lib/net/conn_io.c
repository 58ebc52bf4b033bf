/* Bytes through a connection: read and hand up, ask for output and write.
 *
 * Plaintext is read straight into pooled chunks, so that the owner can keep what it wants by reference; a chunk
 * nobody kept is read into again. Ciphertext goes through the loop's scratch, decrypted into such a chunk. */
#include <errno.h>
#include <string.h>

#include "lib/net/internal.h"

#define READ_CLASS_MAX 4 /* 2^4 chunks: NET_READ_MAX */

_Static_assert((WEFT_CHUNK_SIZE << READ_CLASS_MAX) == NET_READ_MAX, "chunks of a full read");

static bool reads(const net_conn *conn) {
    return (conn->state == NET_OPEN || conn->state == NET_HANDSHAKE) && !conn->paused &&
           !conn->ended;
}

/* Fills what was asked: ask for twice as much next time; under a quarter: for half. */
static void adapt(net_conn *conn, size_t asked, size_t got) {
    if (got == asked) {
        if (conn->read_class < READ_CLASS_MAX) conn->read_class++;
    } else if (got < asked / 4 && conn->read_class) {
        conn->read_class--;
    }
}

/* A chunk nobody refers to, or NULL. */
static weft_chunk *rx_chunk(net_loop *loop, size_t i) {
    if (!loop->rx[i]) loop->rx[i] = weft_chunk_new(loop->chunks);
    if (loop->rx[i]) loop->rx[i]->used = 0;
    return loop->rx[i];
}

static void hand_up(net_conn *conn, const uint8_t *data, size_t size, weft_chunk *chunk) {
    if (conn->state != NET_OPEN) return;
    const int error = conn->handler->on_input(conn, data, size, chunk);
    if (error) net_conn_close(conn, error, NULL);
}

/* After the callbacks: whoever kept a piece keeps the chunk. */
static void rx_done(net_loop *loop, size_t i) {
    weft_chunk *chunk = loop->rx[i];
    if (!chunk || chunk->refs == 1) return;
    weft_chunk_unref(chunk);
    loop->rx[i] = NULL;
}

static void the_end(net_conn *conn) {
    conn->ended = true;
    if (conn->write_error) {
        net_conn_fail(conn, weft_error_from_errno(conn->write_error), "%s",
                      strerror(conn->write_error));
        net_conn_kill(conn, true);
        return;
    }
    if (conn->state == NET_HANDSHAKE) {
        net_conn_fail(conn, WEFT_ECLOSED, "the peer closed during the TLS handshake");
        return;
    }
    if (conn->handler->on_eof && !conn->handler->on_eof(conn)) return;
    net_conn_close(conn, 0, "closed by the peer");
}

static void read_failed(net_conn *conn, int error) {
    const int code = conn->write_error ? conn->write_error : error;
    net_conn_fail(conn, weft_error_from_errno(code), "%s", strerror(code));
    net_conn_kill(conn, true);
}

/* One read of plaintext. Returns the bytes, 0 when there are no more now. */
static size_t read_plain(net_conn *conn, size_t budget) {
    net_loop *loop = conn->loop;
    struct iovec iov[NET_RX_CHUNKS];
    const size_t want = (size_t)1 << conn->read_class;
    size_t count = 0;
    size_t asked = 0;
    for (; count < want && asked < budget && rx_chunk(loop, count); count++) {
        iov[count] = (struct iovec){loop->rx[count]->data, WEFT_CHUNK_SIZE};
        asked += WEFT_CHUNK_SIZE;
    }
    const bool spare = !count; /* no chunk to be had: what arrives is lent only */
    if (spare) {
        iov[count++] = (struct iovec){loop->scratch, NET_READ_MAX};
        asked = NET_READ_MAX;
    }
    const int64_t got = conn->io->readv(conn, iov, (int)count);
    loop->stats.reads++;
    if (got <= 0) {
        if (got == 0) the_end(conn);
        if (got < 0 && got != -EAGAIN) read_failed(conn, (int)-got);
        return 0;
    }
    const size_t size = (size_t)got;
    conn->bytes_in += size;
    loop->stats.bytes_in += size;
    adapt(conn, asked, size);
    size_t left = size;
    for (size_t i = 0; i < count && left; i++) {
        const size_t piece = left < iov[i].iov_len ? left : iov[i].iov_len;
        if (!spare) loop->rx[i]->used = (uint32_t)piece;
        hand_up(conn, iov[i].iov_base, piece, spare ? NULL : loop->rx[i]);
        if (!spare) rx_done(loop, i);
        left -= piece;
    }
    /* Less than asked: drained, and the next byte makes a new edge (epoll(7)); but an end that was reported
     * already makes none. */
    return size < asked && !(conn->events & NET_EV_END) ? 0 : size;
}

static void tls_failed(net_conn *conn) {
    conn->loop->stats.tls_failures++;
    net_conn_fail(conn, WEFT_ECLOSED, "%s", tls_failure_text(conn->tls->session));
}

/* Everything in the session's input, record by record. */
static void read_records(net_conn *conn) {
    net_loop *loop = conn->loop;
    tls_session *session = conn->tls->session;
    while (conn->state == NET_OPEN || conn->state == NET_HANDSHAKE) {
        weft_chunk *chunk = rx_chunk(loop, 0);
        uint8_t *to = chunk ? chunk->data : loop->plain_scratch;
        const int64_t got = tls_read(session, to, TLS_RECORD_MAX, &conn->out);
        if (conn->state == NET_HANDSHAKE && tls_established(session)) net_conn_opened(conn);
        if (got == WEFT_EAGAIN) break;
        if (got < 0) {
            tls_failed(conn);
            break;
        }
        if (got == 0) {
            if (!conn->ended) the_end(conn);
            break;
        }
        if (chunk) chunk->used = (uint32_t)got;
        hand_up(conn, to, (size_t)got, chunk);
        rx_done(loop, 0);
    }
    tls_input(session, NULL, 0); /* what a closed connection left over: the scratch is reused */
    if (conn->out.bytes) net_conn_want_write(conn);
}

static size_t read_tls(net_conn *conn, size_t budget) {
    net_loop *loop = conn->loop;
    size_t asked = (size_t)WEFT_CHUNK_SIZE << conn->read_class;
    if (asked > budget) asked = budget;
    const struct iovec iov = {loop->scratch, asked};
    const int64_t got = conn->io->readv(conn, &iov, 1);
    loop->stats.reads++;
    if (got <= 0) {
        if (got == 0) the_end(conn);
        if (got < 0 && got != -EAGAIN) read_failed(conn, (int)-got);
        return 0;
    }
    const size_t size = (size_t)got;
    conn->bytes_in += size;
    loop->stats.bytes_in += size;
    adapt(conn, asked, size);
    tls_input(conn->tls->session, loop->scratch, size);
    read_records(conn);
    return size < asked && !(conn->events & NET_EV_END) ? 0 : size;
}

/* After our close: drop what comes until the peer's end, so that the kernel does not answer it with a reset
 * that destroys our last bytes on their way. */
static void drop_input(net_conn *conn) {
    const struct iovec iov = {conn->loop->scratch, NET_READ_MAX};
    for (size_t dropped = 0; dropped < NET_LINGER_BYTES;) {
        const int64_t got = conn->io->readv(conn, &iov, 1);
        conn->loop->stats.reads++;
        if (got == -EAGAIN) return;
        if (got <= 0) {
            conn->ended = true;
            if (conn->state == NET_LINGERING || got < 0) net_conn_kill(conn, got < 0);
            return;
        }
        dropped += (size_t)got;
        conn->bytes_in += (size_t)got;
    }
    net_conn_kill(conn, true); /* it will not stop */
}

static void take_input(net_conn *conn) {
    size_t budget = conn->loop->config.read_budget;
    while (reads(conn)) {
        const size_t got = conn->tls ? read_tls(conn, budget) : read_plain(conn, budget);
        if (!got) return;
        if (got >= budget) {
            /* Others first; nothing would report these bytes again (edge-triggered). */
            conn->loop->stats.requeued++;
            net_conn_notify(conn, NET_EV_READ);
            return;
        }
        budget -= got;
    }
}

static void connected(net_conn *conn) {
    const int error = conn->io->connected(conn);
    if (error == -EAGAIN || error == -EINPROGRESS) return;
    if (error) {
        net_conn_fail(conn, weft_error_from_errno(-error), "cannot connect: %s", strerror(-error));
        return;
    }
    net_conn_begin(conn);
}

void net_conn_process(net_conn *conn) {
    const unsigned events = conn->events;
    if (conn->state == NET_CONNECTING) {
        conn->events = 0;
        if (events & NET_EV_WRITE) connected(conn);
        if (conn->state == NET_CONNECTING || conn->state == NET_DEAD) return;
        if (!(events & NET_EV_READ)) return;
    }
    if (events & NET_EV_WRITE) {
        if (conn->blocked) {
            conn->blocked = false;
            net_conn_want_write(conn);
        }
    }
    if (!(events & NET_EV_READ)) {
        conn->events = 0;
        return;
    }
    if (conn->paused && conn->state == NET_OPEN && !conn->write_error) {
        conn->events = (uint8_t)(events & ~NET_EV_WRITE); /* for when it resumes */
        return;
    }
    /* NET_EV_END stays noted while reading, and for good: it is reported once. */
    conn->events = (uint8_t)(events & NET_EV_END);
    if (conn->state >= NET_FLUSHING) {
        if (conn->state != NET_DEAD && !conn->ended) drop_input(conn);
    } else {
        take_input(conn);
    }
    if (conn->write_error && conn->state != NET_DEAD && !(conn->events & NET_EV_READ))
        read_failed(conn, conn->write_error);
}

/* ---- output */

static void write_failed(net_conn *conn, int error) {
    /* The peer may have said why it left: read that first. */
    conn->blocked = true;
    weft_chain_clear(&conn->out);
    if (conn->state >= NET_FLUSHING || conn->paused || conn->ended) {
        read_failed(conn, error);
        return;
    }
    conn->write_error = error;
    net_conn_notify(conn, NET_EV_READ | NET_EV_END);
}

/* One write. Returns the bytes sent, 0 when the transport takes no more. */
static size_t write_out(net_conn *conn) {
    struct iovec iov[NET_IOV_MAX];
    const size_t count = weft_chain_iov(&conn->out, iov, NET_IOV_MAX);
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) asked += iov[i].iov_len;
    const int64_t sent = conn->io->writev(conn, iov, (int)count);
    conn->loop->stats.writes++;
    if (sent < 0) {
        if (sent == -EAGAIN)
            conn->blocked = true;
        else
            write_failed(conn, (int)-sent);
        return 0;
    }
    const size_t size = (size_t)sent;
    if (size < asked) conn->blocked = true;
    conn->bytes_out += size;
    conn->loop->stats.bytes_out += size;
    weft_chain_consume(&conn->out, size);
    return size;
}

/* Asks the owner for output. */
static void fill(net_conn *conn) {
    weft_chain *chain = conn->tls ? &conn->tls->plain : &conn->out;
    if (!conn->handler->on_output || conn->failed || conn->bye || !conn->was_open) return;
    const int error = conn->handler->on_output(conn, chain);
    if (error && conn->state == NET_OPEN) net_conn_close(conn, error, NULL);
}

static void encrypt(net_conn *conn) {
    net_tls *tls = conn->tls;
    if (!tls->plain.bytes || !conn->was_open || conn->failed || conn->bye) return;
    if (conn->out.bytes >= WEFT_CHUNK_SIZE) return;
    if (tls_write(tls->session, &tls->plain, NET_TLS_BATCH, &conn->out) < 0) {
        weft_chain_clear(&tls->plain);
        tls_failed(conn);
    }
}

/* All that was given is sent: our half can be closed. */
static void flushed(net_conn *conn) {
    if (conn->tls && !conn->failed && !conn->bye) {
        conn->bye = true;
        tls_close(conn->tls->session, &conn->out);
        if (conn->out.bytes) return; /* once more round */
    }
    conn->io->shut(conn);
    conn->shut = true;
    if (conn->ended || conn->write_error) {
        net_conn_kill(conn, false);
        return;
    }
    net_conn_tell(conn);
    conn->state = NET_LINGERING;
    conn->loop->stats.lingering++;
    conn->paused = false;
    /* What has arrived already was reported; look. */
    net_conn_notify(conn, NET_EV_READ);
}

void net_conn_flush(net_conn *conn) {
    if (conn->state == NET_CONNECTING || conn->state >= NET_LINGERING) return;
    bool ask = conn->wanted;
    if (conn->was_open) conn->wanted = false;
    for (size_t written = 0; conn->state <= NET_FLUSHING && written < NET_FLUSH_BUDGET;) {
        if (ask) fill(conn);
        if (conn->tls && conn->state <= NET_FLUSHING) encrypt(conn);
        if (conn->state > NET_FLUSHING) return;
        if (!conn->out.bytes) {
            if (conn->state != NET_FLUSHING) return;
            flushed(conn);
            if (!conn->out.bytes || conn->state > NET_FLUSHING) return;
        }
        if (conn->blocked) return;
        const size_t sent = write_out(conn);
        if (!sent) return;
        written += sent;
        /* Progress: the owner may have held something back. */
        ask = true;
    }
    net_conn_want_write(conn);
}
