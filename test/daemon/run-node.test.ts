/**
 * The loop around a node, with a node that does what the test says.
 */
import t from 'tap'
import type { DatapathOperation } from '../../src/control/datapath-operation.js'
import type { Event } from '../../src/control/event.js'
import type { Input, Node, Output } from '../../src/control/input-output.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import {
  createClock,
  createRandom,
  fromStored,
  toStored,
} from '../../src/daemon/clock-and-random.js'
import { runNode } from '../../src/daemon/run-node.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { parseEid, parseEidPrefix } from '../../src/lisp/eid.js'

const rloc = parseIpAddress('192.0.2.1')!
const NOTHING = new Uint8Array(0)
const event: Event = { name: 'smr-sent', severity: 'info' }
const send = (bytes: number): Output => ({
  kind: 'send',
  from: rloc,
  to: rloc,
  toPort: 4342,
  bytes: Uint8Array.of(bytes),
})
const clearing = { kind: 'clear-map-cache', eidPrefix: undefined } as const
const operation: DatapathOperation = {
  kind: 'drop-held',
  eid: parseEid('10.0.0.1')!,
  reason: 'no-reply',
}
const record: StoredRecord = { kind: 'reservation', scope: 'register', ceiling: 1000n }

/** Everything that the loop does, in order, as words. */
function aWorld(
  handle: (input: Input, outputs: Output[]) => void,
  deadline: () => number | undefined = () => undefined,
) {
  const did: string[] = []
  const saves: { resolve: () => void; reject: (error: unknown) => void }[] = []
  const node: Node = {
    handle: (input, _now, outputs) => {
      did.push(`handle ${input.kind}`)
      handle(input, outputs)
    },
    deadline,
    snapshot: () => ({ node: 'fake' }) as never,
    tables: undefined as never,
  }
  const running = runNode({
    node,
    clock: createClock(),
    wire: {
      send: (_from, _to, _port, bytes) => did.push(`send ${bytes[0]}`),
      flush: () => did.push('flush'),
    },
    datapath: { perform: (one) => did.push(`datapath ${one.kind}`) },
    store: { save: () => new Promise((resolve, reject) => saves.push({ resolve, reject })) },
    onStoreFailure: () => did.push('store failed'),
  })
  return { running, did, saves, node }
}

t.test('tables and datagrams first, then what nobody waits for', async (t) => {
  const { running, did, saves } = aWorld((input, outputs) => {
    if (input.kind === 'datapath') {
      outputs.push({ kind: 'persist', records: [record], then: [] }, { kind: 'event', event })
      outputs.push(send(1), { kind: 'datapath', operation })
    }
    if (input.kind === 'deadline') outputs.push(send(2))
  })
  running.onEvent(({ name }) => did.push(`event ${name}`))
  const hit = { kind: 'away-eid-hit', eid: parseEid('10.0.0.1')!, sender: undefined } as const
  running.enqueue([{ kind: 'datapath', event: hit }, { kind: 'deadline' }])
  t.same(did, [
    'handle datapath',
    'send 1',
    'datapath drop-held',
    'flush',
    'handle deadline',
    'send 2',
    'flush',
    'event smr-sent',
  ])
  t.equal(saves.length, 1)
  did.length = 0
  running.enqueue(Array.from({ length: 9 }, () => ({ kind: 'deadline' as const })))
  t.equal(did.filter((one) => one === 'send 2').length, 9)
  t.equal(did.indexOf('flush'), did.length - 1, 'a long batch leaves in one')
  running.stop()
})

t.test('what depends on a record happens only after it is durable', async (t) => {
  const { running, did, saves } = aWorld((_input, outputs) => {
    outputs.push({ kind: 'persist', records: [record], then: [send(7)] }, send(1))
  })
  running.enqueue([{ kind: 'deadline' }])
  t.same(did, ['handle deadline', 'send 1', 'flush'])
  saves[0]!.resolve()
  await new Promise(setImmediate)
  t.same(did.slice(3, 5), ['send 7', 'flush'])
  running.enqueue([{ kind: 'deadline' }])
  saves[1]!.reject(new Error('disk full'))
  await new Promise(setImmediate)
  t.ok(did.includes('store failed'))
  t.equal(did.filter((one) => one === 'send 7').length, 1, 'and never when it is not')
  running.stop()
})

t.test('an input that arises while outputs are performed waits for the next round', async (t) => {
  let depth = 0
  const world = aWorld((input, outputs) => {
    t.equal(depth, 0, 'never entered twice')
    depth += 1
    if (input.kind === 'restored') outputs.push({ kind: 'event', event })
    depth -= 1
  })
  world.running.onEvent(() => world.running.enqueue([{ kind: 'deadline' }]))
  world.running.enqueue([{ kind: 'restored', state: { records: [], localEids: [], mapCache: [] } }])
  t.same(world.did, ['handle restored', 'flush', 'handle deadline', 'flush'])
  world.running.stop()
})

t.test(
  'a command gets exactly one result; one without an answer gets 503 when the node goes',
  async (t) => {
    const world = aWorld((input, outputs) => {
      if (input.kind !== 'command' || input.command.kind !== 'clear-map-cache') return
      const { commandId } = input
      outputs.push({ kind: 'result', commandId, result: { ok: true, value: commandId } })
      outputs.push({ kind: 'result', commandId, result: { ok: true, value: 'again' } })
    })
    t.same(await world.running.command(clearing), { ok: true, value: '1' })
    const waiting = world.running.command({ kind: 'cancel-move', moveId: 'x' })
    world.running.replace(world.node)
    t.match(await waiting, { ok: false, status: 503, code: 'node-stopping' })
    world.running.stop()
    t.match(await world.running.command(clearing), { ok: false, status: 503 })
  },
)

t.test('a suspended node is asked nothing; what waits comes after the first input', async (t) => {
  const world = aWorld((input, outputs) => {
    if (input.kind === 'deadline')
      outputs.push({ kind: 'persist', records: [record], then: [send(1)] })
  })
  world.running.enqueue([{ kind: 'deadline' }])
  let isQuiet = false
  const quiet = world.running.suspend().then(() => {
    isQuiet = true
  })
  world.running.enqueue([{ kind: 'datagram', from: rloc, fromPort: 1, to: rloc, bytes: NOTHING }])
  const command = world.running.command(clearing)
  await Promise.resolve()
  t.equal(isQuiet, false, 'not quiet before everything is stored')
  world.saves[0]!.resolve()
  await quiet
  t.notOk(world.did.includes('handle datagram'), 'the datagram waits')
  t.ok(world.did.includes('send 1'), 'what waited for the store is done')
  world.did.length = 0
  world.running.replace(world.node, {
    kind: 'restored',
    state: { records: [], localEids: [], mapCache: [] },
  })
  t.same(world.did, ['handle restored', 'flush', 'handle datagram', 'flush'])
  t.match(await command, { ok: false, status: 503 }, 'and is not carried out by the next node')
  world.running.stop()
})

t.test('too many commands at once are refused', async (t) => {
  const world = aWorld(() => {})
  const all = Array.from({ length: 1_001 }, () => world.running.command(clearing))
  t.match(await all[1_000], { ok: false, status: 503, code: 'too-many-commands' })
  world.running.stop()
})

t.test('the deadline comes when the node asked for it, and a past one does not spin', async (t) => {
  let wanted: number | undefined = createClock().now() + 20
  const started = createClock().now()
  const handled: number[] = []
  await new Promise<void>((resolve) => {
    const world = aWorld(
      () => {
        handled.push(createClock().now() - started)
        // Stays in the past for a while, as a node that forgot to move on would leave it.
        if (handled.length === 5) {
          wanted = undefined
          world.running.stop()
          resolve()
        }
      },
      () => wanted,
    )
  })
  t.ok(handled[0]! >= 19, `not before its time: ${handled[0]}`)
  t.ok(handled[4]! - handled[0]! >= 3, 'at most one a millisecond')
})

t.test('stored expiries are wall-clock outside and instants inside', async (t) => {
  const clock = { now: () => 5_000, wallClock: () => 1_000_000 }
  const registration: StoredRecord = {
    kind: 'registration',
    site: 's',
    eidPrefix: parseEidPrefix('10.0.0.0/8')!,
    owner: 'o',
    ownerRlocs: [],
    mapVersion: 1,
    locators: [],
    action: 'no-action',
    ttlMinutes: 1,
    proxyReply: false,
    wantMapNotify: false,
    merge: false,
    expiresAt: 6_000,
  }
  t.match(toStored(registration, clock), { expiresAt: 1_001_000 })
  t.same(fromStored(toStored(registration, clock), clock), registration)
  t.same(toStored(record, clock), record)
})

t.test('random numbers are in range and differ', async (t) => {
  const random = createRandom()
  const nonces = new Set(Array.from({ length: 2_000 }, () => random.nonce()))
  t.equal(nonces.size, 2_000)
  const fractions = Array.from({ length: 2_000 }, () => random.fraction())
  t.ok(fractions.every((one) => one >= 0 && one < 1))
  t.ok(Math.abs(fractions.reduce((sum, one) => sum + one, 0) / 2_000 - 0.5) < 0.05)
})
