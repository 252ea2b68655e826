/** `godwit capture` on a real interface, in a network namespace of its own. */
import { spawn, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { aKey, aMapRegister, hmac } from '../support/builders.js'
import { temporaryDirectory } from '../support/fake-node.js'

const NAMESPACE = 'gw-test-capture'
const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js')
const directory = temporaryDirectory()

t.setTimeout(60_000)

t.test('LISP packets and fragments are caught, others are not', { skip: lacking() }, async (t) => {
  ip('netns', 'delete', NAMESPACE)
  if (!ip('netns', 'add', NAMESPACE)) return t.fail('no namespace could be made')
  t.teardown(() => void ip('netns', 'delete', NAMESPACE))
  const set = (...words: string[]): boolean => ip('-netns', NAMESPACE, ...words)
  // A small MTU on the loopback makes the kernel cut what is longer.
  t.ok(set('link', 'set', 'lo', 'mtu', '1400', 'up'))
  const file = join(directory, 'lo.pcap')
  const printing = await listen('--json', '--count', '5', '--seconds', '30')
  const writing = await listen('--out', file, '--count', '5', '--seconds', '30')
  const register = encodeSigned(aMapRegister({ nonce: 77n }), aKey('site secret'), hmac)
  const messages = [
    { port: 53, hex: '00'.repeat(20) },
    { port: 4342, hex: Buffer.from(register).toString('hex') },
    { port: 4341, hex: `0800000000000700${'45'.repeat(3000)}` },
    { port: 4342, hex: '90000000' },
  ]
  const sent = await inNamespace([process.execPath, '-e', SENDER, JSON.stringify(messages)])
  t.equal(sent.code, 0, sent.err)
  const [printed, written] = await Promise.all([printing.finished, writing.finished])
  t.same([printed.code, written.code], [0, 0], printed.err + written.err)
  const expected = [
    { frame: 1, message: 'map-register', nonce: '000000000000004d', destinationPort: 4342 },
    { frame: 2, message: 'data', header: { instanceId: 7 }, fragment: { offset: 0, more: true } },
    { frame: 3, message: 'fragment', part: 'data', firstFrame: 2 },
    { frame: 4, message: 'fragment', part: 'data', firstFrame: 2, fragment: { more: false } },
    { frame: 5, error: { code: 'unknown-type', offset: 0, field: 'Type' } },
  ]
  t.match(linesOf(printed.out), expected)
  const decoded = await inNamespace([process.execPath, main, 'decode', file, '--json'])
  t.match(linesOf(decoded.out), expected, 'and the file says the same')
  t.match(written.err, /5 packets captured in /)
})

/** Run in the namespace; datagrams one after the other, so that their order is known. */
const SENDER = `
const socket = require('node:dgram').createSocket('udp4')
const next = ([one, ...rest]) =>
  one === undefined
    ? socket.close()
    : socket.send(Buffer.from(one.hex, 'hex'), one.port, '127.0.0.1', (error) => {
        if (error) throw error
        next(rest)
      })
next(JSON.parse(process.argv[1]))`

interface Finished {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Resolves once it listens; rejects when it ends before. */
async function listen(...options: string[]): Promise<{ finished: Promise<Finished> }> {
  const run = start([process.execPath, main, 'capture', 'lo', ...options])
  await run.says('listening')
  return run
}

function inNamespace(words: readonly string[]): Promise<Finished> {
  return start(words).finished
}

function start(words: readonly string[]): {
  finished: Promise<Finished>
  says(word: string): Promise<void>
} {
  const child = spawn('ip', ['netns', 'exec', NAMESPACE, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  const finished = new Promise<Finished>((resolve) => {
    child.on('close', (code) => resolve({ code, out, err }))
  })
  const says = (word: string): Promise<void> =>
    new Promise((resolve, reject) => {
      child.stderr.on('data', () => {
        if (err.includes(word)) resolve()
      })
      finished.then(() => reject(new Error(`ended: ${err}`)))
    })
  return { finished, says }
}

function linesOf(text: string): unknown[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}

function ip(...words: string[]): boolean {
  return spawnSync('ip', words).status === 0
}

function lacking(): string | false {
  if (process.getuid?.() !== 0) return 'needs root'
  try {
    createRequire(import.meta.url)('cap')
    return false
  } catch {
    return 'the optional package cap is not installed'
  }
}
