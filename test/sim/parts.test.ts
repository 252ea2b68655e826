/** The parts under the simulator: chance, time, store, network, trace, books, topologies. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { modelFlow } from '../../src/datapath/model-packet.js'
import { encodeMessage } from '../../src/lisp/message.js'
import { INVARIANTS } from '../../src/sim/invariants.js'
import { createLedger } from '../../src/sim/ledger.js'
import { createNetwork, type Datagram, NO_ERRORS } from '../../src/sim/network.js'
import { createPrng } from '../../src/sim/prng.js'
import type { WrapNode } from '../../src/sim/simulated-node.js'
import { createSimulatedStore } from '../../src/sim/store.js'
import { createTimeline } from '../../src/sim/timeline.js'
import { createTrace } from '../../src/sim/trace.js'
import { createWorld } from '../../src/sim/world.js'
import { aMapRequest, anAddress, anEid } from '../support/builders.js'
import { simulatedFile, simulatedSize } from '../support/simulated.js'

t.test(
  'chance is the same for the same seed, and a draw in one part shifts no other',
  async (t) => {
    const prng = createPrng('1')
    t.same(
      [prng.word(), prng.word(), prng.word()],
      [createPrng('1')].flatMap((one) => [one.word(), one.word(), one.word()]),
    )
    const before = createPrng('1').split('network').word()
    prng.word()
    t.equal(prng.split('network').word(), before)
    t.not(prng.split('store').word(), before)
    t.equal(createPrng('seed').word(), 900_617_770, 'on every machine')
  },
)

t.test('distributions have their means and bounds', async (t) => {
  const prng = createPrng('means')
  const mean = (draw: () => number): number => {
    let sum = 0
    for (let count = 0; count < 20_000; count += 1) sum += draw()
    return sum / 20_000
  }
  const near = (value: number, wanted: number): boolean => Math.abs(value / wanted - 1) < 0.05
  t.ok(
    near(
      mean(() => prng.exponential(3)),
      3,
    ),
  )
  t.ok(
    near(
      mean(() => prng.below(11)),
      5,
    ),
  )
  t.ok(
    near(
      mean(() => prng.between(2, 4)),
      3,
    ),
  )
  t.ok(
    near(
      mean(() => (prng.chance(0.2) ? 1 : 0)),
      0.2,
    ),
  )
  t.throws(() => prng.pick([]), RangeError)
})

t.test('time goes by moment, then by order of asking; the past means now', async (t) => {
  const timeline = createTimeline(50)
  const seen: string[] = []
  for (const [at, name] of [
    [5, 'c'],
    [1, 'a'],
    [5, 'd'],
    [2, 'b'],
  ] as const)
    timeline.at(at, () => seen.push(`${name}${timeline.now()}`))
  timeline.at(5, () => timeline.at(0, () => seen.push(`late${timeline.now()}`)))
  timeline.run(4)
  t.same([seen, timeline.now()], [['a1', 'b2'], 4])
  timeline.run(9)
  t.same(seen.slice(2), ['c5', 'd5', 'late5'])
  const endless = (): void => timeline.after(0, endless)
  endless()
  t.throws(() => timeline.run(10), /no rest/)
})

t.test(
  'the store keeps what was durable and nothing else, in the order of the writes',
  async (t) => {
    const timeline = createTimeline()
    const store = createSimulatedStore(timeline, createPrng('store'), 5)
    const done: bigint[] = []
    const save = (ceiling: bigint): void =>
      store.save([{ kind: 'reservation', scope: 'move', ceiling }], () => done.push(ceiling))
    for (const ceiling of [1n, 2n, 3n]) save(ceiling)
    timeline.run(1000)
    t.same(done, [1n, 2n, 3n])
    save(4n)
    t.equal(store.crash(), 1)
    timeline.run(2000)
    t.same(done, [1n, 2n, 3n])
    t.match(store.load(), [{ ceiling: 3n }])
  },
)

t.test('the network loses, copies, delays, cuts and clogs as told', async (t) => {
  const timeline = createTimeline()
  const notes: string[] = []
  const arrived: { at: number; genuine: boolean }[] = []
  const packets: number[] = []
  const network = createNetwork({
    timeline,
    prng: createPrng('network'),
    nodeOf: (rloc) => ({ '192.0.2.1': 'a', '192.0.2.2': 'b' })[rloc],
    arrive: (_node, { genuine }) => arrived.push({ at: timeline.now(), genuine }),
    arrivePacket: (_node, packet) => packets.push(packet.sequence),
    packetLost: (packet, reason) => notes.push(`${packet.sequence} ${reason}`),
    packetCopied: (packet) => notes.push(`${packet.sequence} copied`),
    note: (what) => notes.push(what),
    leastDelayMs: { from: 4, to: 5 },
    meanJitterMs: 1,
  })
  const to = anAddress('192.0.2.2')
  const from = anAddress('192.0.2.1')
  const bytes = new Uint8Array(40).fill(0x10)
  const datagram: Datagram = { from, fromPort: 4342, to, bytes, genuine: true }
  const flow = modelFlow(anEid('10.0.0.1'), anEid('10.0.0.2'))
  let sequence = 0
  const send = (): void => {
    sequence += 1
    network.sendPacket('a', { flow, sequence, sizeBytes: 1, ttl: 9, redirects: 0 }, from, to)
  }
  for (let count = 0; count < 50; count += 1) {
    network.send('a', datagram)
    send()
  }
  timeline.run(100)
  t.equal(arrived.length, 50)
  t.ok(arrived.every(({ at, genuine }) => at >= 4 && genuine))
  t.same(
    packets,
    [...packets].sort((one, two) => one - two),
    'packets keep their order',
  )

  network.setErrors({ ...NO_ERRORS, control: { ...NO_ERRORS.control, loss: 1 } })
  network.send('a', datagram)
  network.setErrors({ ...NO_ERRORS, data: { loss: 0, duplication: 1, reordering: 0 } })
  send()
  network.setErrors(NO_ERRORS)
  network.cut('a', 'b', true)
  network.send('a', datagram)
  send()
  network.send('a', { ...datagram, to: anAddress('203.0.113.1') })
  t.same(notes, ['lost', '51 copied', 'cut', '52 partition', 'no-route'])
  network.heal()
  network.clog('a', 'b', 500)
  const before = arrived.length
  network.send('a', datagram)
  timeline.run(499)
  t.equal(arrived.length, before)
  timeline.run(600)
  t.equal(arrived.length, before + 1)
})

t.test('the hash of a trace depends on every line and on nothing else', async (t) => {
  const [one, same, other] = [createTrace(), createTrace(), createTrace()]
  for (const trace of [one, same]) for (const text of ['a', 'bc']) trace.line(text)
  for (const text of ['ab', 'c']) other.line(text)
  t.equal(one.hash(), same.hash())
  t.not(one.hash(), other.hash())
  t.equal(createTrace().hash(), 'cbf29ce484222325', 'the basis of 64-bit FNV-1a')
  const long = createTrace()
  for (let line = 0; line < 1000; line += 1) long.line(String(line))
  t.equal(long.tail().length, 400)
  t.same([long.tail()[0], long.tail().at(-1)], ['600', '999'])
})

t.test('64-bit FNV-1a has its published value', async (t) => {
  const trace = createTrace()
  for (const letter of ['fooba', 'r']) trace.line(letter)
  // Reference: the same bytes, line feeds included, by big integers.
  let hash = 0xcbf29ce484222325n
  for (const byte of new TextEncoder().encode('fooba\nr\n'))
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn
  t.equal(trace.hash(), hash.toString(16).padStart(16, '0'))
})

t.test(
  'the books know what was lost, doubled and overtaken, and refuse to end twice',
  async (t) => {
    let now = 0
    const ledger = createLedger(() => now)
    const flow = modelFlow(anEid('10.0.0.1'), anEid('10.0.0.2'))
    const books = ledger.open(flow, 'flow')
    const packets = [0, 1, 2].map((sequence) => ({
      flow,
      sequence,
      sizeBytes: 1,
      ttl: 1,
      redirects: 0,
    }))
    for (const packet of packets) {
      now += 10
      ledger.sent(packet)
    }
    t.equal(ledger.delivered(packets[1]!), 0)
    t.equal(ledger.delivered(packets[0]!), 0)
    ledger.copied(packets[2]!)
    ledger.lost(packets[2]!, 'partition')
    t.equal(ledger.underWay(), 1)
    ledger.lost(packets[2]!, 'network-loss')
    t.same(ledger.missing(books, 0), [{ sequence: 2, reason: 'network-loss' }])
    t.same(ledger.missing(books, 31), [])
    t.match(ledger.totals(), { sent: 3, delivered: 2, lost: 1, duplicated: 0, reordered: 1 })
    t.throws(() => ledger.delivered(packets[0]!), /ended twice/)
  },
)

t.test('a topology file says who can be where', async (t) => {
  const { nodes, hosts, moves } = simulatedFile('two-clouds.yaml')
  t.same(
    nodes.map((one) => [one.name, one.forwards]),
    [
      ['cloud-a', true],
      ['cloud-b', true],
      ['client', true],
      ['mapping', false],
    ],
  )
  const vm1 = hosts.find((one) => one.name === 'vm1')!
  t.same(vm1.sockets, [
    { site: 'cloud-a', interfaceName: 'br0' },
    { site: 'cloud-b', interfaceName: 'br0' },
  ])
  t.equal(vm1.initial, 0)
  t.equal(vm1.eids.length, 2)
  t.same(
    hosts.map((one) => one.sockets.length),
    [1, 2, 1, 1],
  )
  t.equal(moves.length, 12)
  const big = simulatedSize({ clouds: 20, customers: 5, endpoints: 300 })
  t.same([big.nodes.length, big.hosts.length], [26, 305])
  t.equal(simulatedFile('static-pair.yaml').hosts.length, 2)
})

t.test('chance, time, network and trace give one hash, on every machine', async (t) => {
  // Nodes that only talk: the hash must not change when the protocol does.
  const talker: WrapNode = (_, name) => {
    let next = 10
    return {
      handle(input, now, outputs) {
        if (input.kind === 'deadline') next = now + 50
        const [from, to] = [anAddress('192.0.2.250'), anAddress('192.0.2.1')]
        const nonce = BigInt(name.length)
        const message = aMapRequest({ nonce, rlocProbe: true })
        outputs.push({ kind: 'send', from, to, toPort: 4342, bytes: encodeMessage(message) })
      },
      deadline: () => (next > 400 ? undefined : next),
      snapshot: () => undefined as never,
      tables: undefined as never,
    }
  }
  const world = createWorld(simulatedSize(), { seed: 'pinned', wrap: talker, without: INVARIANTS })
  world.network.setErrors({
    control: { loss: 0.1, duplication: 0.1, reordering: 0.2, corruption: 0.1 },
    data: { loss: 0, duplication: 0, reordering: 0 },
  })
  world.run(900)
  t.ok(world.trace.count() > 100, `${world.trace.count()} lines`)
  t.equal(world.trace.hash(), '5451b0f7916d0791')
})

t.test('one seed, one hash: also in another process, without a compiler', async (t) => {
  const script = join(import.meta.dirname, 'hash-child.js')
  // Node 20 warns on stderr that there is no WebAssembly then; Node 24 does not.
  const run = (...flags: string[]): string =>
    execFileSync(process.execPath, [...flags, script, '5'], { encoding: 'utf8', stdio: 'pipe' })
  const [compiled, interpreted] = [run(), run('--jitless')]
  t.match(compiled, /^[0-9a-f]{16}$/)
  t.equal(interpreted, compiled, 'no decision depends on how numbers are computed')
})
