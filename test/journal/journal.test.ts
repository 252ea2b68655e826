/**
 * The recorder: what a node did can be done again from its journal alone, a changed journal is noticed,
 * no key is in it, and on disk it stays within its bounds.
 */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Input, Node, Output } from '../../src/control/input-output.js'
import { wrapOneTimeKey } from '../../src/control/lisp-sec/lisp-sec-keys.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { createRecorder } from '../../src/daemon/recorder.js'
import { createSignatures } from '../../src/daemon/referral-signatures.js'
import {
  createJournalEncoder,
  decodeJson,
  encodeJson,
  JOURNAL_FORMAT,
  type JournalStep,
  withoutSecrets,
} from '../../src/journal/journal-format.js'
import { createRecordedNode, journalStep } from '../../src/journal/recorded-node.js'
import { replayJournal } from '../../src/journal/replay.js'
import { noFaults } from '../../src/sim/faults.js'
import { runSimulation } from '../../src/sim/run.js'
import type { MakeNode } from '../../src/sim/simulated-node.js'
import { USUAL_DELAYS } from '../../src/sim/world.js'
import {
  aKey,
  aMapRequest,
  aNodeConfig,
  anAddress,
  aPrefix,
  aSite,
  aSubscriptionPolicy,
  someCapabilities,
} from '../support/builders.js'
import { aDdt, aTreeNode, encapsulated, toNodes } from '../support/delegation-tree.js'
import { temporaryDirectory } from '../support/fake-node.js'
import { aSecurityPolicy, blockCipher, RESOLVER_KEY } from '../support/protected-system.js'
import { securedTopology } from '../support/secured-topology.js'
import { simulatedFile, simulatedSize } from '../support/simulated.js'

interface Recording {
  readonly node: string
  readonly lines: string[]
}

/** Every life of every node of a run, as the lines of a journal each. */
function recordings(): { readonly makeNode: MakeNode; readonly all: Recording[] } {
  const all: Recording[] = []
  const makeNode: MakeNode = (config, capabilities) => {
    const encoder = createJournalEncoder()
    const header = {
      journal: 'godwit',
      format: JOURNAL_FORMAT,
      version: '1.2.3',
      node: config.node,
      startedAt: 1_700_000_000_000,
      startedNow: 0,
      config: withoutSecrets(config),
    } as const
    const lines = [encoder.header(header)]
    all.push({ node: config.node, lines })
    return createRecordedNode(config, capabilities, (step) => {
      lines.push(encoder.step(journalStep(step)))
    })
  }
  return { makeNode, all }
}

function textLines(lines: readonly string[]): string[] {
  return lines.join('').split('\n')
}

const twoClouds = simulatedFile('two-clouds.yaml')
const { makeNode, all } = recordings()
runSimulation(twoClouds, { seed: '1', mode: 'story', makeNode })

t.test('every node of a run with twelve moves decides the same from its journal', async (t) => {
  t.same(all.map(({ node }) => node).sort(), twoClouds.nodes.map(({ name }) => name).sort())
  for (const { node, lines } of all) {
    const result = replayJournal(textLines(lines))
    t.same([result.divergence, result.steps], [undefined, lines.length - 1], node)
    t.ok(result.steps > 50, `${node}: ${result.steps} steps`)
  }
})

t.test('crashes, restarts and losses are recorded and replayed like everything else', async (t) => {
  const own = recordings()
  const mix = { ...noFaults(USUAL_DELAYS), crashEveryMs: 1500, pauseMs: 300 }
  const lossy = { ...mix, errors: { ...mix.errors, control: { ...mix.errors.control, loss: 0.2 } } }
  runSimulation(twoClouds, {
    seed: '3',
    mode: 'swarm',
    safetyMs: 5000,
    mix: lossy,
    makeNode: own.makeNode,
    without: ['I1', 'I3', 'I4', 'I6'],
  })
  t.ok(own.all.length > twoClouds.nodes.length, `${own.all.length} lives`)
  for (const { node, lines } of own.all)
    t.equal(replayJournal(textLines(lines)).divergence, undefined, node)
})

t.test('a journal contains no key and nothing that keys are made of', async (t) => {
  for (const { lines } of all) {
    const text = lines.join('')
    t.notMatch(text, 'secret of')
    t.notMatch(text, Buffer.from('secret of').toString('base64').slice(0, 10))
  }
  const config = aNodeConfig({
    mapServer: {
      sites: [aSite({ keys: [aKey('one', { keyId: 1 }), aKey('two', { keyId: 2 })] })],
      registrationMs: 1,
      maximumRegistrations: 1,
    },
    mobility: { ...aNodeConfig().mobility, key: aKey('one') },
  })
  const hidden = withoutSecrets(config)
  const [first, second] = hidden.mapServer.sites[0]!.keys
  t.notSame(first!.secret, second!.secret, 'two keys stay two')
  t.same(first!.secret, hidden.mobility.key!.secret, 'one key stays one')
  t.notMatch(encodeJson(hidden), Buffer.from('one').toString('base64'))
  t.same(hidden.rlocs, config.rlocs)
  t.same(hidden.xtrId, config.xtrId)
})

t.test('a changed journal is noticed, wherever it was changed', async (t) => {
  const { lines } = all.find(({ node }) => node.startsWith('cloud')) ?? all[0]!
  const at = lines.findIndex((line) => line.includes('"kind":"datagram"'))
  const changed = [...lines]
  changed[at] = lines[at]!.replace('"fromPort":4342', '"fromPort":4343')
  t.not(changed[at], lines[at])
  const damaged = replayJournal(textLines(changed))
  t.match(damaged.divergence, { line: at + 1, why: /not what was written/ })
  t.equal(damaged.steps, at - 1)
  const removed = replayJournal(textLines(lines.toSpliced(at, 1)))
  t.match(removed.divergence, { line: at + 1 })
  t.equal(replayJournal(['{"journal":"godwit"}']).header, undefined)
  t.same(replayJournal(textLines(lines).slice(0, 5)).ending, 'cut-off')
})

t.test('another decision is found although the journal is whole', async (t) => {
  const { lines } = all.find(({ node }) => node.startsWith('cloud')) ?? all[0]!
  // The same journal as somebody would have written it whose node had got another datagram.
  const encoder = createJournalEncoder()
  const bodies = lines.map((line) => decodeJson(line.slice(17).trimEnd())) as {
    input?: Input
    words?: string
  }[]
  const at = bodies.findIndex(
    ({ input, words }) => input?.kind === 'datagram' && words?.includes('datapath') === true,
  )
  const forged = bodies.map((body, index) => {
    const { input } = body
    if (index !== at || input?.kind !== 'datagram') return encoder.step(body as never)
    const bytes = Uint8Array.from(input.bytes)
    bytes[5]! ^= 1
    return encoder.step({ ...body, input: { ...input, bytes } } as never)
  })
  const result = replayJournal(textLines(forged))
  t.match(result.divergence, { line: at + 1, why: /decides otherwise|draws/ })
  t.match(result.divergence?.recorded, 'datapath')
})

t.test('the timeline says what came in and what was decided, until when it is asked', async (t) => {
  const { lines } = all.find(({ node }) => node.startsWith('cloud')) ?? all[0]!
  const seen: string[] = []
  const result = replayJournal(textLines(lines), {
    untilMs: 10_000,
    onStep: ({ input, decisions }) => seen.push(input, ...decisions),
  })
  t.equal(result.ending, 'until')
  t.match(seen[0], /^start with 0 records/)
  t.ok(seen.some((one) => one.startsWith('datapath put-local-eid')))
  t.ok(seen.some((one) => /^send \S+:4342 .*Map-Register/i.test(one)))
  t.ok(seen.some((one) => one.startsWith('event eid-arrived')))
})

t.test('signatures, verdicts and the time of day are told again as they were', async (t) => {
  const value = { draws: [7n, 0.5, true, Uint8Array.of(1, 2), 1_700_000_000] }
  t.same(decodeJson(encodeJson(value)), value)
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pair = {
    privateKey: new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' })),
    publicKey: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
  }
  const own = recordings()
  const signatures = createSignatures((now) => 1_800_000_000_000 + now)
  const config = aTreeNode('192.0.2.1', {
    ddt: aDdt({
      root: true,
      signingKeys: [pair],
      delegations: [{ ...toNodes('10.9.0.0/16', '192.0.2.2'), keys: [pair.publicKey] }],
    }),
  })
  const node = own.makeNode(config, { ...someCapabilities(), signatures })
  const bytes = encapsulated(aMapRequest({ eidPrefix: '10.9.0.1/32' }), true)
  const [from, to] = [anAddress('192.0.2.200'), anAddress('192.0.2.1')]
  const outputs: Output[] = []
  node.handle({ kind: 'datagram', from, fromPort: 4342, to, bytes }, 5, outputs)
  t.ok(outputs.some(({ kind }) => kind === 'send'))
  const text = own.all[0]!.lines.join('')
  t.match(text, '"draws":[', 'it was asked for')
  t.notMatch(text, Buffer.from(pair.privateKey).toString('base64').slice(40, 90))
  const result = replayJournal(textLines(own.all[0]!.lines))
  t.same([result.divergence, result.steps], [undefined, 1])
  const turned = own.all[0]!.lines.map((line) =>
    decodeJson(line.slice(17).trimEnd()),
  ) as JournalStep[]
  const encoder = createJournalEncoder()
  const later = turned.map((line) =>
    encoder.step({
      ...line,
      ...(line.draws === undefined
        ? {}
        : { draws: line.draws.map((one) => (typeof one === 'number' ? one + 86_400 : one)) }),
    }),
  )
  t.match(replayJournal(textLines(later)).divergence?.why, /decides otherwise/, 'another day')
})

t.test('wrapped one-time keys are replayed, and no key is written', async (t) => {
  const own = recordings()
  const known: string[] = []
  const makeNode: MakeNode = (config, capabilities) => {
    const cipher = capabilities.blockCipher!
    return own.makeNode(config, {
      ...capabilities,
      blockCipher: {
        encrypt: cipher.encrypt,
        decrypt(key, block) {
          const opened = cipher.decrypt(key, block)
          known.push(Buffer.from(opened.subarray(8)).toString('base64').slice(0, 10))
          return opened
        },
      },
    })
  }
  const clouds = securedTopology(simulatedSize({ endpoints: 2, proxyReply: false }))
  const mix = { ...noFaults(USUAL_DELAYS), crashEveryMs: 1500, pauseMs: 300 }
  const result = runSimulation(clouds, { seed: '5', mode: 'swarm', safetyMs: 4000, mix, makeNode })
  t.equal(result.ok, true)
  t.ok(known.length > 100, `${known.length} blocks opened`)
  for (const { node, lines } of own.all) {
    const text = lines.join('')
    t.equal(replayJournal(textLines(lines)).divergence, undefined, node)
    const found = known.filter((half) => text.includes(half))
    t.same(found, [], 'no half of a one-time key')
  }
})

t.test('a subscription under a key of its own is replayed without that key', async (t) => {
  const own = recordings()
  const [server, resolver] = ['192.0.2.60', '192.0.2.50'].map(anAddress)
  const rloc = { address: server!, interfaceName: 'core', priority: 1, weight: 100 }
  const identity = { xtrId: new Uint8Array(16).fill(7), siteId: 1n }
  const itr = anAddress('198.51.100.1')
  const listed = { xtrId: '07'.repeat(16), siteId: 1n, rlocs: [itr], key: undefined }
  const config = aNodeConfig({
    roles: ['map-server'],
    rlocs: [rloc],
    mapServer: { sites: [aSite()], registrationMs: 180_000, maximumRegistrations: 10 },
    subscriptions: aSubscriptionPolicy({ subscribers: [listed], mapResolvers: [resolver!] }),
    security: aSecurityPolicy({ requesterKeys: [RESOLVER_KEY] }),
  })
  const capabilities = { ...someCapabilities(), blockCipher }
  const wrapping = { id: 2, keyId: RESOLVER_KEY.keyId, secret: RESOLVER_KEY.secret }
  const otk = new Uint8Array(16).fill(0x5c)
  const ask = (nonce: bigint, fill: number): Input => {
    const key = wrapOneTimeKey(
      otk.map((one) => one ^ fill),
      wrapping,
      nonce,
      {
        hmac: capabilities.hmac,
        cipher: blockCipher,
      },
    )
    const records = [{ subscribe: true, eidPrefix: aPrefix('10.1.0.5/32') }]
    const request = aMapRequest({ nonce, identity, itrRlocs: [itr], records })
    const eidAuthentication = { kdfId: 2 }
    const securityData = { requestedHmacId: 2, oneTimeKey: key, eidAuthentication }
    const bytes = encapsulated(request, false, { security: true, securityData })
    return { kind: 'datagram', from: resolver!, fromPort: 4342, to: server!, bytes }
  }
  const written: StoredRecord[] = []
  const live = (records: readonly StoredRecord[], inputs: readonly Input[]): void => {
    const node = own.makeNode(config, capabilities)
    const restored = { kind: 'restored', state: { records, localEids: [], mapCache: [] } } as const
    for (const [index, input] of [restored, ...inputs, { kind: 'deadline' } as const].entries()) {
      const outputs: Output[] = []
      node.handle(input, 5000 * index, outputs)
      for (const one of outputs) if (one.kind === 'persist') written.push(...one.records)
    }
  }
  live([], [ask(70n, 0), ask(80n, 1), ask(80n, 1)])
  const kept = written.filter((one) => one.kind === 'subscription').at(-1)!
  const secret = kept.kind === 'subscription' ? kept.secret! : new Uint8Array(0)
  live([kept], [ask(90n, 2)])
  t.equal(own.all.length, 2)
  for (const { lines } of own.all) {
    const result = replayJournal(textLines(lines))
    t.same([result.divergence, result.steps], [undefined, lines.length - 1])
    t.notMatch(lines.join(''), Buffer.from(secret).toString('base64').slice(0, 12))
  }
})

t.test('values survive the way through a line', async (t) => {
  const value = { a: 5n, b: Uint8Array.of(0, 255), c: [1.25, Number.POSITIVE_INFINITY], d: 'x' }
  t.same(decodeJson(encodeJson(value)), value)
  t.equal(decodeJson('{"$bigint'), undefined)
  t.equal(decodeJson('{"$bigint":"x"}'), undefined)
})

// ------------------------------------------------------------------------------------ on disk

interface Disk {
  readonly directory: string
  readonly said: string[]
  readonly asked: () => number
  readonly recorder: ReturnType<typeof createRecorder>
  start(): Node
}

function aDisk(maximumBytes: number, directory = temporaryDirectory()): Disk {
  const said: string[] = []
  let asked = 0
  let now = 0
  const recorder = createRecorder({
    directory,
    maximumBytes,
    node: 'cloud-a',
    version: '1.2.3',
    clock: {
      now() {
        now += 10
        return now
      },
      wallClock: () => 1_700_000_000_000 + now,
    },
    say: (_severity, event, fields) => said.push(`${event} ${String(fields?.['reason'] ?? '')}`),
    onFull: () => {
      asked += 1
    },
  })
  const config = aNodeConfig({ node: 'cloud-a' })
  const start = (): Node => recorder.createNode(config, someCapabilities())
  return { directory, said, asked: () => asked, recorder, start }
}

const garbage = (bytes: number): Input => ({
  kind: 'datagram',
  from: anAddress('192.0.2.9'),
  fromPort: 4342,
  to: anAddress('203.0.113.1'),
  bytes: new Uint8Array(bytes).fill(0xf0),
})
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('a journal on disk is for its owner, is whole when closed, and replays', async (t) => {
  const disk = aDisk(1 << 20)
  const node = disk.start()
  for (let at = 1; at <= 100; at += 1) node.handle(garbage(100), at, [])
  await disk.recorder.close()
  const [name = ''] = readdirSync(disk.directory)
  t.match(name, /^cloud-a-\d{8}T\d{9}Z-1\.journal$/)
  t.equal(statSync(join(disk.directory, name)).mode & 0o777, 0o600)
  const lines = readFileSync(join(disk.directory, name), 'utf8').split('\n')
  const result = replayJournal(lines)
  t.same([result.steps, result.ending, result.divergence], [100, 'stopped', undefined])
})

t.test('a full journal asks for a new node, and the oldest journals go', async (t) => {
  const directory = temporaryDirectory()
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'old.journal'), Buffer.alloc(900_000))
  writeFileSync(join(directory, 'notes.txt'), Buffer.alloc(900_000))
  const disk = aDisk(1 << 20, directory)
  const first = disk.start()
  t.notOk(readdirSync(directory).includes('old.journal'))
  t.ok(readdirSync(directory).includes('notes.txt'), 'what is no journal stays')
  for (let at = 1; disk.asked() === 0 && at < 10_000; at += 1) {
    first.handle(garbage(1400), at, [])
    await settle()
  }
  t.equal(disk.asked(), 1)
  const second = disk.start()
  second.handle({ kind: 'deadline' }, 20_000, [])
  await disk.recorder.close()
  const names = readdirSync(directory).filter((one) => one.startsWith('cloud-a'))
  t.equal(names.length, 2)
  for (const name of names) {
    const text = readFileSync(join(directory, name), 'utf8')
    t.equal(replayJournal(text.split('\n')).divergence, undefined)
    t.ok(text.length < (1 << 20) / 2)
  }
})

t.test('a journal whose node is not renewed ends, and says so once', async (t) => {
  const disk = aDisk(1 << 20)
  const node = disk.start()
  for (let at = 1; at < 2000; at += 1) {
    node.handle(garbage(1400), at, [])
    if (at % 16 === 0) await settle()
  }
  await disk.recorder.close()
  t.same(disk.said, ['recording-ended full'])
  const [name = ''] = readdirSync(disk.directory)
  const text = readFileSync(join(disk.directory, name), 'utf8')
  t.ok(text.length < (1 << 20) * 0.55, `${text.length} bytes`)
  t.equal(replayJournal(text.split('\n')).ending, 'full')
})

t.test('more inputs than can be kept end the journal, never the node', async (t) => {
  const disk = aDisk(1 << 30)
  const node = disk.start()
  for (let at = 1; at <= 20_100; at += 1) node.handle(garbage(20), at, [])
  await disk.recorder.close()
  t.same(disk.said, ['recording-ended too-fast'])
})
