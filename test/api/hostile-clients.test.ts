/**
 * Clients of the API that mean harm or have gone wrong: bodies and headers without end, requests that
 * never finish, streams that nobody reads, names that lead elsewhere. Each is answered or cut off
 * within a bound, and the next honest request is served.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MAXIMUM_FOLLOWERS } from '../../src/api/event-log.js'
import { listenOnSocket, MAXIMUM_CONNECTIONS } from '../../src/api/listen.js'
import { type Api, startApi } from '../../src/api/server.js'
import { aConfig, aDatapath, createFakeNode } from '../support/fake-node.js'

const node = createFakeNode()
const config = aConfig()
let api: Api

t.before(async () => {
  const startedAt = new Date(Date.now() - 5000)
  api = await startApi({ node, datapath: aDatapath, config, version: '1.2.3', startedAt })
})
t.teardown(() => api.close())

t.test('a body beyond 64 KB is refused before it is read, with and without a length', async (t) => {
  const big = Buffer.alloc(1 << 20, 0x20)
  const told = await raw(
    `POST /v1/moves HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${1 << 30}\r\n\r\n`,
  )
  t.match(told, /^HTTP\/1\.1 413 /)
  t.match(told, /body-too-large/)
  const chunks = `${(1 << 20).toString(16)}\r\n`
  const streamed = await raw(
    Buffer.concat([
      Buffer.from(
        'POST /v1/moves HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
      ),
      Buffer.from(chunks),
      big,
    ]),
  )
  t.match(streamed, /^HTTP\/1\.1 413 /)
  await served(t)
})

t.test('JSON nested without end is refused as what it is', async (t) => {
  for (const body of ['['.repeat(30_000), `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`]) {
    const { status, text } = await call('POST', '/v1/moves', body)
    t.equal(status, 400, text.slice(0, 80))
    t.ok(text.length < 10_000, 'and not repeated back')
  }
  const many = JSON.stringify({ eids: Array.from({ length: 5000 }, () => 'x'), instanceId: 7 })
  const { status, text } = await call('POST', '/v1/moves', many)
  t.equal(status, 400)
  t.ok(text.length < 5000, `${text.length} bytes about 5,000 wrong items`)
  t.same(node.commands, [])
  const polluted = await call('POST', '/v1/moves', '{"__proto__":{"x":1},"eids":["10.10.0.5"]}')
  t.equal(polluted.status, 400)
  t.equal(({} as { x?: number }).x, undefined)
})

t.test('headers without end are cut off at 16 KB', async (t) => {
  const long = `GET /v1/health HTTP/1.1\r\nhost: x\r\nx-a: ${'a'.repeat(100_000)}\r\n\r\n`
  t.match(await raw(long), /^HTTP\/1\.1 431 /)
  const fields = Array.from({ length: 20_000 }, (_, at) => `x-${at}: 1\r\n`).join('')
  t.match(await raw(`GET /v1/health HTTP/1.1\r\nhost: x\r\n${fields}\r\n`), /^HTTP\/1\.1 431 /)
  t.match(await raw(`GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`), /^HTTP\/1\.1 (431|414|400) /)
  t.match(await raw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'), /^HTTP\/1\.1 400 /)
  await served(t)
})

t.test('two lengths, or a length and chunks, are refused: nobody smuggles a request', async (t) => {
  const post = 'POST /v1/moves HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
  const inner = 'GET /v1/node HTTP/1.1\r\nhost: x\r\n\r\n'
  for (const lengths of [
    'content-length: 2\r\ncontent-length: 40\r\n',
    'content-length: 2\r\ntransfer-encoding: chunked\r\n',
    'transfer-encoding: chunked, identity\r\n',
  ]) {
    const answer = await raw(`${post}${lengths}\r\n{}${inner}`)
    t.match(answer, /^HTTP\/1\.1 400 /, lengths.trim())
    t.equal(answer.split('HTTP/1.1 ').length, 2, 'one answer')
  }
})

t.test('names that lead elsewhere find nothing', async (t) => {
  for (const path of [
    '/../../../../etc/passwd',
    '/v1/../../etc/passwd',
    '/v1/moves/..%2f..%2f..%2fetc%2fpasswd',
    '/v1/moves/%2e%2e/%2e%2e/etc/passwd',
    '/v1/map-cache/..%2F..%2Fetc%2Fpasswd',
    '/v1/map-cache/%00',
    '/v1/map-cache/%ff%fe',
    '/v1/mapping-database/10.0.0.0%2f8%00',
    '/openapi.json/../../../package.json',
    `/v1/moves/${'a'.repeat(5000)}`,
    '//etc/passwd',
    '/v1/why?eid=../../etc/passwd',
  ]) {
    const answer = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 4\d\d /, path.slice(0, 60))
    t.notMatch(answer, /root:|"dependencies"/, 'no file')
    t.match(answer, /"error":\{"code":"[a-z-]+"/, 'in the one form of errors')
    t.ok(answer.length < 2000, 'and not repeated back')
  }
})

t.test('event streams are bounded in number, and one that nobody reads is cut off', async (t) => {
  const streams = await Promise.all(
    Array.from({ length: MAXIMUM_FOLLOWERS }, () => openStream('/v1/events')),
  )
  t.ok(streams.every(({ incoming }) => incoming.statusCode === 200))
  const more = await call('GET', '/v1/events')
  t.equal(more.status, 503)
  t.match(more.text, 'too-many-followers')
  await served(t)
  // All stop reading; events of 8 KB come until every one of them is 1 MB and its buffers behind.
  for (const { incoming } of streams) incoming.socket.pause()
  const padding = 'x'.repeat(8000)
  const followers = async (): Promise<number> =>
    Number(/^godwit_event_followers\{\S* (\d+)$/m.exec((await call('GET', '/metrics')).text)?.[1])
  t.equal(await followers(), MAXIMUM_FOLLOWERS)
  let rounds = 0
  while ((await followers()) > 0 && rounds < 200) {
    rounds += 1
    for (let at = 0; at < 10; at += 1)
      node.emit({ name: 'smr-received', severity: 'info', padding })
  }
  t.ok(rounds < 200, `cut off after ${rounds * 10} events of 8 KB`)
  const { text } = await call('GET', '/metrics')
  t.match(text, new RegExp(`godwit_event_followers_dropped_total\\S* ${MAXIMUM_FOLLOWERS}\\n`))
  for (const { outgoing } of streams) outgoing.destroy()
  const again = await openStream('/v1/events')
  t.equal(again.incoming.statusCode, 200, 'the places are free again')
  again.outgoing.destroy()
})

t.test('clients that never finish a request are cut off and give their places back', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-slow-'))
  const path = join(directory, 'api.sock')
  const listener = await listenOnSocket(path, (_, response) => response.end('well'), 500)
  t.teardown(async () => {
    await listener.close()
    rmSync(directory, { recursive: true })
  })
  const words = ['', 'GET / HT', 'GET / HTTP/1.1\r\nhost: x\r\n']
  const slow = await Promise.all(
    Array.from({ length: MAXIMUM_CONNECTIONS }, (_, at) => connected(path, words[at % 3]!)),
  )
  const refused = await connected(path, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  t.equal(await allOf(refused), '', 'one more is closed without an answer')
  const endings = await Promise.all(slow.map(allOf))
  t.ok(endings.every((text) => text === '' || /^HTTP\/1\.1 408 /.test(text)))
  const honest = await connected(path, 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  t.match(await allOf(honest), /^HTTP\/1\.1 200 [\s\S]*well$/)
})

async function served(t: Test): Promise<void> {
  t.equal((await call('GET', '/v1/node')).status, 200, 'the next one is served')
}

function call(
  method: string,
  path: string,
  body?: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const socketPath = config.api.socket
    const outgoing = request({ socketPath, method, path, headers }, (incoming) => {
      let text = ''
      incoming.on('data', (part: Buffer) => {
        text += part.toString()
      })
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** What comes back for these bytes until the answer is whole or the connection ends. */
async function raw(bytes: string | Buffer): Promise<string> {
  const socket = await connected(config.api.socket, bytes)
  return new Promise((resolve) => {
    let text = ''
    const done = (): void => {
      socket.destroy()
      resolve(text)
    }
    socket.on('data', (part) => {
      text += part.toString('latin1')
      const [head = '', body] = text.split('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (body !== undefined && body.length >= length) setImmediate(done)
    })
    socket.on('close', done)
  })
}

function connected(path: string, bytes: string | Buffer): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path }, () => {
      socket.off('error', reject)
      socket.write(bytes)
      resolve(socket)
    })
    socket.once('error', reject)
    // A server that has heard enough closes while we still write.
    socket.on('error', () => {})
  })
}

/** Everything until the connection ends. */
function allOf(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    socket.on('data', (part) => {
      text += part.toString()
    })
    socket.on('close', () => resolve(text))
  })
}

function openStream(path: string) {
  return new Promise<{ incoming: IncomingMessage; outgoing: ReturnType<typeof request> }>(
    (resolve, reject) => {
      const outgoing = request({ socketPath: config.api.socket, path }, (incoming) => {
        incoming.on('error', () => {})
        resolve({ incoming, outgoing })
      })
      outgoing.on('error', reject)
      outgoing.end()
    },
  )
}
