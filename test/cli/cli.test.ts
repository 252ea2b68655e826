/**
 * The command line, in this process and as one of its own: against an API that serves a node of plain
 * values, and against the absence of one. Output without colours, so that it can be compared as text.
 */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../src/api/server.js'
import { coloured, formatDuration } from '../../src/cli/columns.js'
import { runCommandLine } from '../../src/cli/command-line.js'
import { queryMapping } from '../../src/cli/lig-query.js'
import { chooseTarget } from '../../src/cli/target.js'
import { parseAddressText, parseEidText } from '../../src/config/address-text.js'
import { parseKeyFile } from '../../src/config/key-file.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { eidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'
import { decodeMessage, encodeMessage, type MapRequest } from '../../src/lisp/message.js'
import { aKey, aMapRegister, hmac } from '../support/builders.js'
import { ethernet, pcapFile, udpPacket } from '../support/captured-packets.js'
import {
  aConfig,
  aDatapath,
  aMove,
  createFakeNode,
  someGroupPackets,
  temporaryDirectory,
} from '../support/fake-node.js'

t.setTimeout(120_000)

const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js')
const node = createFakeNode()
const config = aConfig()
const socket = config.api.socket

interface Run {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

t.before(async () => {
  const startedAt = new Date(Date.now() - 65_000)
  const counted = { datapath: aDatapath, groupPackets: someGroupPackets }
  const api = await startApi({ node, ...counted, config, version: '1.2.3', startedAt })
  t.teardown(() => api.close())
})

t.test('tables are aligned, compact and say what is missing', async (t) => {
  const golden: [string, string][] = [
    [
      'map-cache',
      `
EID-PREFIX          ACTION   LOCATORS          VERSION  EXPIRES  PACKETS   BYTES  IDLE  ORIGIN
10.20.0.0/16        forward  172.16.3.1 1/100        3   14m50s        -       -     -  map-reply
[7]10.20.0.0/24     forward  172.16.3.1 1/100        3   14m50s     1200  100800  12ms  map-reply
[7]10.20.0.128/25   drop     -                       3   14m50s        -       -     -  map-reply
`,
    ],
    [
      'mapping-database',
      `
EID-PREFIX        KIND            STATE  INTERFACE  MAC                VERSION  REGISTERED
[7]10.10.0.0/24   dynamic-prefix  local  br0        -                        0  -
[7]10.10.0.5/32   dynamic-eid     local  br0        02:00:00:00:00:05        4  1.5s ago
`,
    ],
    [
      'registrations',
      `
EID-PREFIX       SITE    OWNER                             LOCATORS          VERSION  EXPIRES
[7]10.10.0.5/32  clouds  00112233445566778899aabbccddeeff  172.16.3.1 1/100        4    2m58s
`,
    ],
    [
      'described-eids',
      `
EID                       SITE    OWNER                             LOCATORS          EXPIRES
[7]52.52,13.405 r 2000 m  clouds  172.16.3.1                        "rooftop"           1m00s
[7]"ietf"                 clouds  00112233445566778899aabbccddeeff  172.16.3.1 1/100    2m58s
`,
    ],
    [
      'described-eids --limit 1',
      `
EID                       SITE    OWNER       LOCATORS   EXPIRES
[7]52.52,13.405 r 2000 m  clouds  172.16.3.1  "rooftop"    1m00s
… of 2 in all: --after '[7]52.52,13.405 r 2000 m'
`,
    ],
    [
      'sites',
      `
SITE    PREFIXES                           REGISTRATIONS
clouds  [7]10.10.0.0/24 and more specific              1
`,
    ],
    [
      'locators',
      `
RLOC         STATE  PROBED  ROUND-TRIP  LAST-REPLY  LOSS  PATH-MTU
172.16.3.1   up     yes         0.42ms      3s ago    0%         -
fd00:c:3::1  down   yes              -       never  100%      1400
`,
    ],
    [
      'moves',
      `
MOVE              STATE      TRIGGER       EIDS            FROM        TO          AGE   TOOK
0000000100000abc  converged  orchestrated  [7]10.10.0.5    172.16.1.1  172.16.2.1   5s  110ms
                                           [7]fd00:10::5
`,
    ],
    [
      'drops',
      `
REASON                           PACKETS  BYTES
unknown-eid                            3    252
group control: segment-fragment        2      -
`,
    ],
    [
      'drops --all',
      `
REASON                           PACKETS  BYTES
malformed-inner                        0      0
unknown-eid                            3    252
group control: segment-fragment        2      -
group control: join-cut-short          0      -
`,
    ],
    [
      'counters',
      `
PACKETS  WHAT
   1200  encapsulated
   1100  decapsulated
      4  held
      2  held now
    168  held now, bytes
     40  held in all
     37  released in order
      1  given up: endpoint-absent
`,
    ],
  ]
  for (const [words, expected] of golden) {
    const run = await godwit('show', ...words.split(' '))
    t.same([run.code, run.err], [0, ''], words)
    t.equal(squeezed(run.out), squeezed(expected), words)
    t.notMatch(run.out, /[ \t]$/m, `${words}: no trailing white space`)
  }
})

t.test('show multicast tells groups, segments, listeners and routers', async (t) => {
  const { out, code } = await godwit('show', 'multicast')
  t.equal(code, 0)
  for (const title of ['COPIES TO', 'QUERIER', 'SOURCES', 'PIM ROUTERS']) t.match(out, title)
  t.match(out, /br0 \(IPv4\) +10\.10\.0\.9 +10\.10\.0\.9 +2 +1/)
  const json = JSON.parse((await godwit('show', 'multicast', '--json')).out)
  t.match(json, { groups: Array, listeners: Array, segments: Array })
  t.same(json.routers[0].neighbours, ['10.10.0.9'])
  t.match(out, /CONTROL PACKETS +COUNT\nigmp-received +12\npim-sent +3\nsegment-fragment +2\n$/)
  t.same(json.control.drops, { 'segment-fragment': 2, 'join-cut-short': 0 })
})

t.test('columns line up: a cell begins where its title begins', async (t) => {
  const [title = '', ...rows] = (await godwit('show', 'map-cache')).out.trimEnd().split('\n')
  t.equal(rows.length, 3)
  for (const row of rows) {
    t.equal(row.slice(title.indexOf('ACTION')).split(' ')[0]?.length, row.includes('drop') ? 4 : 7)
    t.equal(row.slice(title.indexOf('ORIGIN')), 'map-reply')
  }
})

t.test('--json prints what the API said', async (t) => {
  const cache = JSON.parse(
    (await godwit('show', 'map-cache', '--json', '--eid', '[7]10.20.0.9')).out,
  )
  t.equal(cache.total, 1)
  t.equal(cache.mapCache[0].counters.packets, 1200)
  t.equal(JSON.parse((await godwit('show', 'sites', '--json')).out).sites[0].name, 'clouds')
  const drops = JSON.parse((await godwit('show', 'drops', '--json')).out)
  t.equal(drops['unknown-eid'].bytes, 252)
  t.same(drops['group control: segment-fragment'], { packets: 2 })
  t.equal(JSON.parse((await godwit('show', 'counters', '--json')).out).hold.heldTotal, 40)
  t.equal(JSON.parse((await godwit('show', 'node', '--json')).out).node, 'cloud-b')
  t.equal(JSON.parse((await godwit('show', 'moves', '--json')).out).moves.length, 1)
})

t.test('show node and one move read like sentences', async (t) => {
  const { out } = await godwit('show', 'node')
  t.match(out, /^node {13}cloud-b \(itr, etr\)$/m)
  t.match(out, /^up {15}1m\d\ds, process \d+$/m)
  t.match(out, /^RLOCs {12}172\.16\.2\.1 on core0$/m)
  t.equal(
    (await godwit('show', 'moves', '0000000100000abc')).out,
    `move 0000000100000abc  [7]10.10.0.5, [7]fd00:10::5  172.16.1.1 -> 172.16.2.1
      0 ms  requested
      4 ms  source-redirected
      5 ms  ready
    100 ms  endpoint-seen
    110 ms  converged
`,
  )
})

t.test('a move is followed to its end, each stage printed once', async (t) => {
  const whole = aMove({ moveId: 'm1' }).timeline
  let reads = 0
  const readyMove = aMove({ moveId: 'm1', state: 'ready', timeline: whole.slice(0, 3) })
  node.answer = async () => ({ ok: true, value: readyMove })
  const snapshot = node.snapshot
  node.snapshot = () => {
    reads += 1
    node.moves = [reads < 3 ? readyMove : aMove({ moveId: 'm1' })]
    return snapshot()
  }
  const run = await godwit('move', '10.10.0.5', '--instance-id', '7', '--wait')
  node.snapshot = snapshot
  t.same([run.code, run.err], [0, ''])
  t.same(run.out.split('\n').slice(1), [
    '      0 ms  requested',
    '      4 ms  source-redirected',
    '      5 ms  ready: switch the link now',
    '    100 ms  endpoint-seen',
    '    110 ms  converged',
    '',
  ])
  t.match(node.commands.at(-1), { kind: 'start-move', eids: [{ instanceId: 7 }] })
})

t.test('a move that fails, is refused or is cancelled says so', async (t) => {
  const failed = aMove({ moveId: 'm2', state: 'failed', reason: 'endpoint-absent', timeline: [] })
  node.answer = async () => ({ ok: true, value: failed })
  node.moves = [failed]
  const run = await godwit('move', '10.10.0.5', '--wait')
  t.equal(run.code, 1)
  t.equal(run.err, 'godwit: move m2 failed: endpoint-absent\n')
  const cancelled = await godwit('cancel-move', 'm2')
  t.same([cancelled.code, cancelled.out], [0, 'move m2 rolled back\n'])
  node.answer = async () => ({ ok: false, status: 409, code: 'already-local', message: 'is here' })
  const refused = await godwit('move', '10.10.0.5')
  t.same([refused.code, refused.err], [1, 'godwit: is here (409 already-local)\n'])
})

t.test('clear, lig and events go through the daemon', async (t) => {
  node.answer = async () => ({ ok: true, value: undefined })
  t.equal((await godwit('clear', 'map-cache')).out, 'map-cache cleared\n')
  t.equal((await godwit('clear', 'map-cache', '10.20.0.0/24', '--instance-id', '7')).code, 0)
  t.match(node.commands.at(-1), { eidPrefix: { instanceId: 7, maskLength: 24 } })
  const value = {
    eidPrefix: '[7]10.20.0.0/24',
    ttlMinutes: 15,
    locators: [{ rloc: '172.16.3.1', priority: 1, weight: 100, reachable: true }],
  }
  node.answer = async () => ({ ok: true, value })
  const lig = await godwit('lig', '[7]10.20.0.2')
  t.match(lig.out, /^\[7\]10\.20\.0\.2: answered in [\d.]+ ms\n/)
  t.match(lig.out, /\n\[7\]10\.20\.0\.0\/24 {2}ttl 15 min\n {2}172\.16\.3\.1 1\/100\n$/)
  node.emit({ name: 'eid-arrived', severity: 'notice', eid: '[7]10.10.0.5', how: 'arp' })
  node.emit({ name: 'locator-down', severity: 'warning', reason: 'no-reply' })
  t.equal(
    (await godwit('events')).out,
    `03:04:05.678  notice   eid-arrived  eid=[7]10.10.0.5 how=arp
03:04:05.678  warning  locator-down  reason=no-reply
`,
  )
  const json = (await godwit('events', '--json', '--name', 'locator-down')).out.trim()
  t.match(JSON.parse(json), { name: 'locator-down', at: '2025-01-02T03:04:05.678Z' })
})

t.test('events --follow prints what happens while it runs', async (t) => {
  const child = start(['events', '--follow', '--name', 'eid-departed', '--socket', socket])
  let out = ''
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      node.emit({ name: 'eid-departed', severity: 'notice', eid: '[7]10.10.0.5' })
    }, 20)
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      clearInterval(timer)
      resolve()
    })
  })
  t.match(out, /^03:04:05\.678 {2}notice {3}eid-departed {2}eid=\[7\]10\.10\.0\.5\n/)
  child.kill('SIGTERM')
})

t.test('check-config prints every error and exits 2, or names the node', async (t) => {
  const directory = temporaryDirectory()
  const bad = join(directory, 'bad.yaml')
  writeFileSync(bad, 'node: a\nroles: [router]\nrlocs:\n  - {adress: 1.2.3.4, interface: eth0}\n')
  const run = await here(['check-config', bad])
  t.equal(run.code, 2)
  t.match(run.out, /3 errors[\s\S]*roles\[0\] \(line 2\)[\s\S]*rlocs\[0\]\.adress \(line 4\)/)
  t.match(run.out, /hint: did you mean address\?/)
  const json = JSON.parse((await here(['check-config', bad, '--json'])).out)
  t.same([json.ok, json.errors.length], [false, 3])
  const good = join(directory, 'good.yaml')
  writeFileSync(
    good,
    'node: ms\nroles: [map-resolver]\ndatapath: {kind: none}\nrlocs: [{address: 1.2.3.4, interface: e}]\n',
  )
  const ok = await here(['check-config', good])
  t.same([ok.code, ok.out], [0, `${good}: ok, node ms (map-resolver)\n`])
})

t.test('without a daemon, the error says what to do', async (t) => {
  const gone = await here(['show', 'map-cache', '--socket', '/nonexistent.sock'])
  t.equal(gone.code, 1)
  t.match(
    gone.err,
    /^godwit: no daemon answers on \/nonexistent\.sock: no such socket\n {2}start it/,
  )
  const url = await here(['show', 'sites', '--url', 'http://127.0.0.1:1'])
  t.match(url.err, /no daemon answers on http:\/\/127\.0\.0\.1:1: nobody listens/)
  t.equal((await here(['show', 'sites', '--url', 'nonsense'])).code, 2)
  const typo = await here(['show', 'map-cahce'])
  t.equal(typo.code, 2)
  t.match(typo.err, /unknown command 'map-cahce'\n\(Did you mean map-cache\?\)/)
  const number = await here(['show', 'map-cache', '--instance-id', 'x', '--socket', socket])
  t.same([number.code, number.err.split('\n')[0]], [2, 'godwit: --instance-id "x" is not a number'])
  t.equal((await here(['--help'])).code, 0)
  t.match((await here(['lab', '--help'])).out, /Usage: godwit lab/)
})

t.test('the only socket is the default; several must be chosen from', async (t) => {
  const directory = temporaryDirectory()
  t.throws(() => chooseTarget({}, directory), { message: /no daemon has a socket/ })
  t.throws(() => chooseTarget({}, join(directory, 'missing')), { message: /no daemon/ })
  writeFileSync(join(directory, 'fake.sock'), 'a file is no socket')
  const first = aConfig()
  first.api.socket = join(directory, 'a.sock')
  const options = { node, datapath: undefined, version: '1', startedAt: new Date() }
  const one = await startApi({ ...options, config: first })
  t.same(chooseTarget({}, directory), { kind: 'socket', path: join(directory, 'a.sock') })
  const second = aConfig()
  second.api.socket = join(directory, 'b.sock')
  const two = await startApi({ ...options, config: second })
  t.throws(() => chooseTarget({}, directory), { message: /several daemons run here: a, b/ })
  t.same(chooseTarget({ node: 'b' }, directory), {
    kind: 'socket',
    path: join(directory, 'b.sock'),
  })
  await one.close()
  await two.close()

  const place = (path: string) => ({ kind: 'socket', path })
  t.same(chooseTarget({}, directory, { GODWIT_SOCKET: '/x.sock' }), place('/x.sock'))
  t.same(chooseTarget({ socket: '/y' }, directory, { GODWIT_SOCKET: '/x.sock' }), place('/y'))
})

t.test('daemons of a lab are found by node name, unless two labs have one', async (t) => {
  const directory = temporaryDirectory()
  const apis = []
  for (const path of ['lab/one/a.sock', 'lab/one/b.sock', 'lab/two/b.sock']) {
    const of = aConfig()
    of.api.socket = join(directory, path)
    const options = { node, datapath: undefined, version: '1', startedAt: new Date() }
    apis.push(await startApi({ ...options, config: of }))
  }
  t.same(chooseTarget({ node: 'a' }, directory), {
    kind: 'socket',
    path: join(directory, 'lab/one/a.sock'),
  })
  t.throws(() => chooseTarget({ node: 'b' }, directory), { message: /several topologies have a b/ })
  t.throws(() => chooseTarget({}, directory, {}), { message: /several daemons run here: a, b/ })
  for (const api of apis) await api.close()
})

t.test('lig asks a Map-Resolver directly, again when the answer is lost', async (t) => {
  const resolver = createSocket('udp4')
  const asked: MapRequest[] = []
  resolver.on('message', (bytes) => {
    const outer = decodeMessage(new Uint8Array(bytes))
    if (outer.kind !== 'encapsulated-control') return
    const inner = decodeMessage(outer.message)
    if (inner.kind !== 'map-request') return
    asked.push(inner)
    if (asked.length === 1) return
    const wrong = mapReply(inner.nonce + 1n, 9)
    resolver.send(wrong, outer.innerSourcePort, '127.0.0.1')
    resolver.send(mapReply(inner.nonce, 15), outer.innerSourcePort, '127.0.0.1')
  })
  await new Promise<void>((resolve) => resolver.bind(0, '127.0.0.1', resolve))
  const eid = parseEidText('[7]10.20.0.2')!
  const mapResolver = parseAddressText('127.0.0.1')!
  const { port } = resolver.address()
  const answer = await queryMapping({ eid, mapResolver, port, waitMs: 50 })
  t.equal(asked.length, 2)
  t.match(asked[0], { records: [{ eidPrefix: { instanceId: 7, maskLength: 32 } }] })
  t.equal(answer?.from, '127.0.0.1')
  t.equal(answer?.mappings[0]?.ttlMinutes, 15, 'the answer with another nonce was ignored')
  resolver.close()
  const silent = await queryMapping({ eid, mapResolver, port, waitMs: 5, tries: 2 })
  t.equal(silent, undefined)
})

t.test('durations are short and colours only where wanted', async (t) => {
  const cases: [number | undefined, string][] = [
    [undefined, '-'],
    [0.4249, '0.42ms'],
    [12.4, '12ms'],
    [4210, '4.2s'],
    [890_000, '14m50s'],
    [11_100_000, '3h05m'],
    [187_200_000, '2d04h'],
  ]
  for (const [ms, text] of cases) t.equal(formatDuration(ms), text)
  t.equal(coloured(true, 'red', 'x'), '\u001b[31mx\u001b[0m')
  t.equal(coloured(false, 'red', 'x'), 'x')
})

t.test(
  'decode explains a capture file, verifies with keys, and survives what is broken',
  async (t) => {
    const directory = temporaryDirectory()
    const file = join(directory, 'incident.pcap')
    const keys = join(directory, 'keys.yaml')
    const signed = encodeSigned(aMapRegister({ nonce: 5n }), aKey('kept in a file'), hmac)
    const addresses = { source: '172.16.1.1', destination: '172.16.4.1' }
    const good = ethernet(udpPacket({ ...addresses, payload: signed }))
    const bad = ethernet(udpPacket({ ...addresses, payload: signed.subarray(0, 20) }))
    writeFileSync(file, pcapFile([good, bad, good]).subarray(0, -1))
    writeFileSync(join(directory, 'clouds.key'), ' kept in a file\n')
    writeFileSync(keys, '- {id: 1, secretFile: clouds.key}\n- {id: 1, secret: another}\n')

    const json = await exec(['decode', file, '--json', '--keys', keys])
    t.equal(json.code, 0)
    const [first, ...rest] = json.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    t.match(first, { frame: 1, message: 'map-register', nonce: '0000000000000005' })
    t.equal(first.authentication, 'verified')
    t.match(rest, [
      { frame: 2, error: { code: 'truncated', offset: 16, field: 'Authentication Data' } },
      { frame: 3, error: { code: 'truncated', field: 'end of file' } },
    ])
    t.equal(json.err, `${file}: 1 control, 2 malformed\n`)

    const text = await exec(['decode', file])
    t.match(
      text.out,
      /^ {5}1 {2}03:04:05\.678901 {2}172\.16\.1\.1 → 172\.16\.4\.1 {2}map-register nonce/,
    )
    t.notMatch(text.out, /authentication verified/, 'nothing is said about it without keys')

    const failures: [string[], RegExp][] = [
      [['decode', join(directory, 'nothing.pcap')], /cannot be read: no such file/],
      [['decode', directory], /cannot be read: it is a directory/],
      [['decode', keys], /is not a capture file\n.*decompress/],
      [['decode', file, '--keys', join(directory, 'no.yaml')], /cannot be read: no such file/],
      [['decode', file, '--keys', file], /is not/],
    ]
    for (const [words, message] of failures) {
      const run = await here(words)
      t.same([run.code, run.out], [2, ''])
      t.match(run.err, message)
    }
  },
)

t.test('a key file says everything that is wrong with it, and never a secret', async (t) => {
  const read = (path: string) =>
    path === 'empty'
      ? { ok: true as const, text: ' ', worldReadable: false }
      : { ok: false as const, problem: 'cannot be read: no such file' }
  const result = parseKeyFile(
    '[{id: 1}, {id: 2, secret: hush, secretFile: x}, {secretFile: gone}, {secretFile: empty}]',
    read,
  )
  t.ok(!result.ok)
  const errors = result.ok ? [] : result.errors
  t.same(
    errors.map(({ path, problem }) => `${path} ${problem}`),
    [
      'keys[0] has no secret',
      'keys[1] has both secretFile and secret',
      'keys[2] gone cannot be read: no such file',
      'keys[3] empty is empty',
    ],
  )
  t.notMatch(JSON.stringify(errors), 'hush')
  t.match(parseKeyFile('[{algorithm: md5, secret: hush}]', read), {
    errors: [{ path: 'keys[0].algorithm' }],
  })
  t.match(parseKeyFile('[{ident: 1, secret: hush}]', read), { errors: [{ path: 'keys[0].ident' }] })
  t.match(parseKeyFile('{id: 1}', read), { errors: [{ problem: 'is not a list of keys' }] })
  t.same(parseKeyFile('[{id: 3, algorithm: hmac-sha-1-96, secret: hush}]', read), {
    ok: true,
    keys: [{ keyId: 3, algorithm: 1, secret: new TextEncoder().encode('hush') }],
  })
})

t.test('capture without an interface of that name says which there are', async (t) => {
  const run = await exec(['capture', 'nosuch0'])
  t.not(run.code, 0)
  t.match(
    run.err,
    /there is no interface nosuch0\n {2}there are: .*lo|"cap" is not installed|no permission/,
  )
})

t.test('the command works through a symbolic link, as npm installs it', async (t) => {
  const link = join(temporaryDirectory(), 'godwit')
  symlinkSync(main, link)
  const run = await exec(['--version'], link)
  t.match(run.out, /^\d+\.\d+\.\d+\n$/)
})

function godwit(...words: string[]): Promise<Run> {
  return here([...words, '--socket', socket])
}

/** In this process: starting one costs more than all that most commands do. */
async function here(words: readonly string[]): Promise<Run> {
  const told = { out: '', err: '' }
  const code = await runCommandLine(words, {
    print: (text) => {
      told.out += `${text}\n`
    },
    complain: (text) => {
      told.err += text
    },
    colour: false,
  })
  return { code, ...told }
}

function start(words: readonly string[], script = main) {
  return spawn(process.execPath, [script, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
}

function exec(words: readonly string[], script = main): Promise<Run> {
  const child = start(words, script)
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}

/** The gaps between columns are cli-table3's; that they line up has a test of its own. */
function squeezed(text: string): string {
  return text.trim().replace(/ {2,}/g, '  ')
}

function mapReply(nonce: bigint, ttlMinutes: number): Uint8Array {
  return encodeMessage({
    kind: 'map-reply',
    rlocProbe: false,
    echoNonceCapable: false,
    nonce,
    records: [
      {
        eidPrefix: eidPrefix(7, parseAddressText('10.20.0.0')!, 24),
        ttlMinutes,
        action: 'no-action',
        authoritative: true,
        mapVersion: 0,
        locators: [locator(parseAddressText('172.16.3.1')!)],
      },
    ],
  })
}
