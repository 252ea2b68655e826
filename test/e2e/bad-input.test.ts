/**
 * What somebody in the core, or at the API, can do to a live system with bytes: nothing but count.
 *
 *   host1 ── client ── core ── cloud-a, cloud-b ── vm1          (mapping: Map-Server, Map-Resolver)
 *                       │
 *                    attacker: any source address, sees and repeats everything
 *
 * A clean flow runs meanwhile and loses nothing; tables stay as they are; daemons stay alive; every
 * datagram is in a counter with its reason.
 */
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/load.js'
import type { NodeConfig } from '../../src/config/node-config.js'
import { listIn } from '../../src/lab/api-request.js'
import { poll } from '../../src/lab/daemons.js'
import { announceEndpoint } from '../../src/lab/lab.js'
import { openPanel } from '../../src/lab/panel.js'
import { type AuthenticationKey, encodeSigned } from '../../src/lisp/authentication.js'
import { encodeDataHeader } from '../../src/lisp/data-header.js'
import { encodeMessage, type MapNotify, type MoveMessage } from '../../src/lisp/message.js'
import { ATTACKER, type Attacker, type Captured, startAttacker } from '../support/attacker.js'
import {
  aMapping,
  aMapRegister,
  aMapRequest,
  anEid,
  anIdentity,
  hmac,
} from '../support/builders.js'
import {
  configPath,
  daemonPid,
  killDaemon,
  metricsOf,
  reviveDaemon,
  risen,
  untilHealthy,
} from '../support/daemon-control.js'
import { figuresOf, flowsBetween, pause, startStreams } from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const HOST1 = { node: 'host1', addresses: { ipv4: '10.20.0.2', ipv6: 'fd00:20::2' } }
const VM1 = { node: 'vm1', addresses: { ipv4: '10.10.0.5', ipv6: 'fd00:10::5' } }
const VM1_PREFIX = '[7]10.10.0.5/32'
const RLOC = {
  ...{ client: '172.16.3.1', mapping: '172.16.4.1' },
  ...{ 'cloud-a': '172.16.1.1', 'cloud-b': '172.16.2.1' },
} as const
type Node = keyof typeof RLOC
const DAEMONS = Object.keys(RLOC) as Node[]
const CLOUDS = [RLOC['cloud-a'], RLOC['cloud-b']]
const STRANGERS = Array.from({ length: 20 }, (_, index) => `198.51.100.${index + 1}`)

t.setTimeout(120_000)

t.test('nothing that comes over the wire does harm', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', 'gwres-bad', {
    adjust: (_node, config) =>
      'mobility' in config
        ? { ...config, mobility: { ...(config['mobility'] as object), peers: CLOUDS } }
        : config,
  })
  const attacker = await startAttacker(lab, 'core')
  t.teardown(() => attacker.close())
  const scene = { lab, attacker, keys: keysOf(lab) }
  await lab.run('host1', 'ping', '-c', '2', '-i', '0.2', '-q', VM1.addresses.ipv4)
  await moveTo(lab, 'cloud-b')
  await moveTo(lab, 'cloud-a')

  const attacks: readonly [string, (t: Test, scene: Scene) => Promise<void>][] = [
    ['messages cut at every byte', cutMessages],
    ['registers with wrong authentication', wrongRegisters],
    ['registers that claim more than they may', overClaims],
    ['a register that was captured and is sent again', replayedRegisters],
    ['Map-Replies that nobody asked for', unsolicitedReplies],
    ['Map-Notifies that were forged or captured', forgedNotifies],
    ['Move messages that were forged or captured', forgedMoves],
    ['data packets cut at every byte', cutDataPackets],
    ['a flood of solicitations from everywhere', solicitationFlood],
  ]
  for (const [name, attack] of attacks)
    t.test(name, (t) => unharmed(t, scene, () => attack(t, scene)))
  t.test('moves that cannot be', (t) =>
    // What a cancelled move gives back may be overtaken: order is promised for moves that succeed.
    unharmed(t, scene, () => impossibleMoves(t, lab), false),
  )
  t.test('the replay still fails after the Map-Server was killed', async (t) => {
    await killDaemon(lab, 'mapping')
    reviveDaemon(lab, 'mapping')
    await untilHealthy(lab, 'mapping')
    await unharmed(t, scene, () => replayedRegisters(t, scene))
  })
})

interface Scene {
  readonly lab: RunningLab
  readonly attacker: Attacker
  readonly keys: { readonly clouds: AuthenticationKey; readonly mobility: AuthenticationKey }
}

const WRONG = { secret: new TextEncoder().encode('not the secret') }

async function cutMessages(t: Test, { lab, attacker, keys }: Scene): Promise<void> {
  const register = encodeSigned(registerOf('10.10.0.5/32', 1n << 60n), keys.clouds, hmac)
  const notify = encodeSigned(notifyOf(1n << 60n), keys.clouds, hmac)
  const move = encodeSigned(moveOf('prepare', 1n << 60n), keys.mobility, hmac)
  const cuts = (bytes: Uint8Array): Uint8Array[] =>
    Array.from({ length: bytes.length }, (_, length) => bytes.slice(0, length))
  const counted = async (node: Node, bytes: Uint8Array, names: string[]): Promise<void> => {
    const before = await metricsOf(lab, node)
    await attacker.send({ to: RLOC[node], datagrams: cuts(bytes) })
    const rise = await risenTo(lab, node, before, names, bytes.length)
    t.equal(rise, bytes.length, `${node}: ${bytes.length} datagrams, each counted once`)
  }
  const ignored = 'godwit_datagram_ignored_total'
  await counted('mapping', register, [ignored, 'godwit_map_register_rejected_total'])
  await counted('client', notify, [ignored, 'godwit_map_notify_rejected_total'])
  await counted('cloud-a', move, [ignored, 'godwit_move_message_rejected_total'])
  const probe = encodeMessage(aMapRequest({ eidPrefix: '[7]10.99.0.1/32', rlocProbe: true }))
  await counted('client', probe.slice(0, -1), [ignored])
}

async function wrongRegisters(t: Test, { lab, attacker, keys }: Scene): Promise<void> {
  const register = registerOf('10.10.0.5/32', 1n << 60n)
  const good = encodeSigned(register, keys.clouds, hmac)
  const flipped = Array.from({ length: 16 }, (_, at) => {
    const bytes = good.slice()
    bytes[16 + at]! ^= 1
    return bytes
  })
  const wrongKey = encodeSigned(register, { ...keys.clouds, ...WRONG }, hmac)
  const wrongId = encodeSigned(register, { ...keys.clouds, keyId: 77 }, hmac)
  const weaker = encodeSigned(register, { ...keys.clouds, algorithm: 1 }, hmac)
  const name = 'godwit_map_register_rejected_total'
  const before = await metricsOf(lab, 'mapping')
  const datagrams = [...flipped, wrongKey, wrongId, weaker]
  await attacker.send({ to: RLOC.mapping, datagrams })
  await risenTo(lab, 'mapping', before, [name], datagrams.length)
  const rise = risen(before, await metricsOf(lab, 'mapping'))
  t.equal(rise[`${name}{authentication-failed}`], 17, 'wrong data')
  t.equal(rise[`${name}{unknown-key}`], 2, 'a key or algorithm that the site does not have')
}

/** With the right key: the clouds may not register what is not theirs, nor hide it behind what is. */
async function overClaims(t: Test, { lab, attacker, keys }: Scene): Promise<void> {
  const claims = [['10.20.0.0/24'], ['0.0.0.0/0'], ['10.0.0.0/8'], ['192.0.2.0/24']]
  const mixed = ['10.10.0.77/32', '10.20.0.9/32']
  const name = 'godwit_map_register_rejected_total'
  const before = await metricsOf(lab, 'mapping')
  const datagrams = [...claims, mixed].map((prefixes, index) => {
    const records = prefixes.map((prefix) => recordOf(`[7]${prefix}`))
    const register = { ...registerOf('10.10.0.5/32', (1n << 60n) + BigInt(index)), records }
    return encodeSigned(register, keys.clouds, hmac)
  })
  const otherInstance = {
    ...registerOf('10.10.0.5/32', 1n << 60n),
    records: [recordOf('10.10.0.5/32')],
  }
  datagrams.push(encodeSigned(otherInstance, keys.clouds, hmac))
  await attacker.send({ to: RLOC.mapping, datagrams })
  await risenTo(lab, 'mapping', before, [name], datagrams.length)
  const rise = risen(before, await metricsOf(lab, 'mapping'))
  t.equal(sumOf(rise, [name]), datagrams.length, JSON.stringify(rise))
  const { body } = await lab.api('mapping', '/v1/registrations')
  t.notMatch(JSON.stringify(body), '10.10.0.77', 'nothing of a message with one wrong record')
}

/** cloud-b had vm1 once: its registers of that time must not bring the mapping back to it. */
async function replayedRegisters(t: Test, { lab, attacker }: Scene): Promise<void> {
  const captured = attacker.captured().filter(isRegister)
  const stolen = captured.filter(
    ({ from, message }) =>
      from === RLOC['cloud-b'] && JSON.stringify(message, bigintText).includes('10,10,0,5'),
  )
  t.ok(
    stolen.length > 0,
    `${stolen.length} registers of cloud-b for vm1, ${captured.length} in all`,
  )
  const name = 'godwit_map_register_rejected_total'
  const before = await metricsOf(lab, 'mapping')
  const datagrams = stolen.map(({ bytes }) => bytes)
  await attacker.send({ from: RLOC['cloud-b'], to: RLOC.mapping, datagrams })
  await attacker.send({ to: RLOC.mapping, datagrams })
  await risenTo(lab, 'mapping', before, [name], 2 * datagrams.length)
  const rise = risen(before, await metricsOf(lab, 'mapping'))
  const replays = (rise[`${name}{replayed}`] ?? 0) + (rise[`${name}{repeated}`] ?? 0)
  t.equal(replays, 2 * datagrams.length, 'all of them known for what they are')
}

async function unsolicitedReplies(t: Test, { lab, attacker }: Scene): Promise<void> {
  const name = 'godwit_map_reply_rejected_total'
  const before = await metricsOf(lab, 'client')
  const datagrams = Array.from({ length: 200 }, (_, nonce) =>
    encodeMessage({
      kind: 'map-reply',
      rlocProbe: nonce % 2 === 1,
      echoNonceCapable: false,
      nonce: BigInt(nonce),
      records: [recordOf(VM1_PREFIX, ATTACKER)],
    }),
  )
  await attacker.send({ from: RLOC.mapping, to: RLOC.client, datagrams })
  await risenTo(lab, 'client', before, [name], datagrams.length)
  const rise = risen(before, await metricsOf(lab, 'client'))
  t.equal(rise[`${name}{unknown-nonce}`], 100)
  t.equal(rise[`${name}{probe}`], 100)
}

async function forgedNotifies(t: Test, { lab, attacker, keys }: Scene): Promise<void> {
  const name = 'godwit_map_notify_rejected_total'
  const before = await metricsOf(lab, 'cloud-a')
  const forged = Array.from({ length: 50 }, (_, index) =>
    encodeSigned(notifyOf((1n << 60n) + BigInt(index)), { ...keys.clouds, ...WRONG }, hmac),
  )
  await attacker.send({ from: RLOC.mapping, to: RLOC['cloud-a'], datagrams: forged })
  await risenTo(lab, 'cloud-a', before, [name], forged.length)
  const rise = risen(before, await metricsOf(lab, 'cloud-a'))
  t.equal(rise[`${name}{authentication-failed}`], forged.length, 'all refused')
  // Genuine ones of the time when vm1 left for cloud-b.
  const old = attacker
    .captured()
    .filter(
      ({ from, to, message }) =>
        message.kind === 'map-notify' && from === RLOC.mapping && to === RLOC['cloud-a'],
    )
    .map(({ bytes }) => bytes)
  t.ok(old.length > 0, `${old.length} captured ones are repeated`)
  await attacker.send({ from: RLOC.mapping, to: RLOC['cloud-a'], datagrams: old })
  await attacker.send({ from: RLOC.mapping, to: RLOC['cloud-b'], datagrams: old })
  await pause(200)
}

async function forgedMoves(t: Test, { lab, attacker, keys }: Scene): Promise<void> {
  const name = 'godwit_move_message_rejected_total'
  const phases = ['prepare', 'confirm', 'cancel', 'solicited', 'prepared', 'ack'] as const
  const forged = phases.map((phase, index) =>
    encodeSigned(moveOf(phase, (1n << 60n) + BigInt(index)), { ...keys.mobility, ...WRONG }, hmac),
  )
  // The right key, but from somebody who is not among mobility.peers.
  const foreign = encodeSigned(moveOf('prepare', 1n << 60n), keys.mobility, hmac)
  const before = await metricsOf(lab, 'cloud-a')
  await attacker.send({ from: RLOC['cloud-b'], to: RLOC['cloud-a'], datagrams: forged })
  await attacker.send({ to: RLOC['cloud-a'], datagrams: [foreign] })
  await risenTo(lab, 'cloud-a', before, [name], forged.length + 1)
  const rise = risen(before, await metricsOf(lab, 'cloud-a'))
  t.equal(rise[`${name}{authentication-failed}`], forged.length, 'all refused')
  t.equal(rise[`${name}{unknown-xtr}`], 1, 'also from a stranger with the key')
  // What both clouds said to each other during the two moves, to either of them, from either.
  const old = attacker.captured().filter(({ message }) => message.kind === 'move')
  t.ok(old.length >= 8, `${old.length} captured ones are repeated`)
  const datagrams = old.map(({ bytes }) => bytes)
  for (const from of CLOUDS)
    for (const to of CLOUDS) if (from !== to) await attacker.send({ from, to, datagrams })
  await pause(200)
}

async function cutDataPackets(t: Test, { lab, attacker }: Scene): Promise<void> {
  const header = encodeDataHeader({
    ...{ nonce: undefined, echoNonceRequest: false, mapVersions: undefined, instanceId: 7 },
    ...{ locatorStatusBits: undefined, nextProtocol: undefined, cryptoKeyId: 0 },
  })
  const inner = Uint8Array.from([
    ...[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 20, 0, 2, 10, 10, 0, 99],
    ...[0x13, 0x88, 0x13, 0x88, 0, 8, 0, 0],
  ])
  const packet = Uint8Array.from([...header, ...inner])
  const datagrams = Array.from({ length: packet.length + 1 }, (_, size) => packet.slice(0, size))
  const before = await metricsOf(lab, 'cloud-a')
  await attacker.send({ from: RLOC.client, to: RLOC['cloud-a'], toPort: 4341, datagrams })
  const name = 'godwit_datapath_drops_total'
  const rise = await risenTo(lab, 'cloud-a', before, [name], datagrams.length - header.length)
  // Without a whole LISP header they are not for the programs; the kernel has no use for them either.
  t.equal(
    rise,
    datagrams.length - header.length,
    'each with a LISP header is dropped with a reason',
  )
}

/** RFC 9301 §6.1: anybody may solicit; what it costs must not depend on how often. */
async function solicitationFlood(t: Test, { lab, attacker }: Scene): Promise<void> {
  const before = await metricsOf(lab, 'client')
  for (const from of STRANGERS) {
    const datagrams = Array.from({ length: 250 }, (_, nonce) => {
      const about = { solicitMapRequest: true, nonce: BigInt(nonce), eidPrefix: VM1_PREFIX }
      return encodeMessage(aMapRequest({ ...about, sourceEid: anEid('[7]10.10.0.5') }))
    })
    await attacker.send({ from, to: RLOC.client, datagrams })
  }
  await risenTo(lab, 'client', before, ['godwit_smr_received_total'], 4_900)
  const rise = risen(before, await metricsOf(lab, 'client'))
  t.ok(sumOf(rise, ['godwit_smr_received_total']) > 4_500, 'they were received')
  const asked = sumOf(rise, ['godwit_map_request_sent_total'])
  t.ok(asked <= 15, `${asked} Map-Requests came of 5,000 solicitations`)
}

async function impossibleMoves(t: Test, lab: RunningLab): Promise<void> {
  const move = (body: object, node: Node = 'cloud-b') =>
    lab.api(node, '/v1/moves', { method: 'POST', body: { instanceId: 7, ...body } })
  const code = { error: { code: String, message: String } }
  const outside = await move({ eids: ['10.20.0.2'] })
  t.match(outside, { status: 404, body: { error: { code: 'eid-not-allowed' } } })
  const stranger = await move({ eids: ['10.10.0.5'], source: '172.16.3.1' })
  t.match(stranger, { status: 404, body: { error: { code: 'unknown-xtr' } } })
  t.match(await move({ eids: ['10.10.0.5'] }, 'cloud-a'), { status: 409, body: code })
  t.match(await move({ eids: ['10.10.0.5'] }, 'client'), { status: 503, body: code })
  t.match(await move({ eids: ['10.10.0.300'] }), { status: 400, body: code })
  t.match(await move({ eids: [] }), { status: 400, body: code })
  const eids = Object.values(VM1.addresses)
  const both = await Promise.all([move({ eids }), move({ eids })])
  const [first, second] = both.sort((a, b) => a.status - b.status)
  t.match(second, { status: 409, body: { error: { code: 'move-in-progress' } } })
  t.equal(first!.status, 201)
  const { moveId } = first!.body as { moveId: string }
  const cancelled = await lab.api('cloud-b', `/v1/moves/${moveId}`, { method: 'DELETE' })
  t.match(cancelled, { status: 200, body: { state: 'failed' } })
  await poll(5_000, async () => {
    const { body } = await lab.api('cloud-a', '/v1/mapping-database')
    const entry = listIn(body).find(({ eidPrefix }) => eidPrefix === VM1_PREFIX)
    return entry?.['state'] === 'local' && entry['registered'] ? undefined : 'not taken back'
  })
  await poll(5_000, async () => {
    const { body } = await lab.api('cloud-b', '/v1/mapping-database')
    return listIn(body).some(({ state }) => state === 'standby') ? 'still expected' : undefined
  })
}

// ---------------------------------------------------------------------------------- the frame

/** Runs an attack beside a clean flow and a clean query, and compares everything afterwards. */
async function unharmed(
  t: Test,
  { lab }: Scene,
  attack: () => Promise<void>,
  keepsOrder = true,
): Promise<void> {
  const before = await stateOf(lab)
  const pids = DAEMONS.map((node) => daemonPid(lab, node))
  const streams = await startStreams(lab, flowsBetween(HOST1, VM1), { rate: 500 })
  try {
    await attack()
    const body = { eid: VM1.addresses.ipv6, instanceId: 7 }
    const { status } = await lab.api('client', '/v1/queries', { method: 'POST', body })
    t.equal(status, 200, 'a clean client is served')
  } finally {
    for (const flow of await streams.stop()) {
      const { sent, lost, duplicated, reordered } = figuresOf(flow)
      t.same({ lost, duplicated }, { lost: 0, duplicated: 0 }, `${flow.name}: ${sent} packets`)
      if (keepsOrder) t.equal(reordered, 0, 'in order')
    }
  }
  t.same(await stateOf(lab), before, 'no table has changed')
  t.same(
    DAEMONS.map((node) => daemonPid(lab, node)),
    pids,
    'all daemons live',
  )
}

/** Everything but times, versions that refreshes settle, and entries that come of use. */
async function stateOf(lab: RunningLab): Promise<unknown> {
  const rows = async (node: Node, table: string) =>
    listIn((await lab.api(node, `/v1/${table}`)).body).map((entry) => {
      const { eidPrefix, state, locators, mapVersion, owner } = entry
      return { eidPrefix, state, locators, mapVersion, owner }
    })
  const byPrefix = (all: Awaited<ReturnType<typeof rows>>) =>
    all.sort((a, b) => String(a.eidPrefix).localeCompare(String(b.eidPrefix)))
  return {
    registrations: byPrefix(await rows('mapping', 'registrations')),
    'cloud-a': byPrefix(await rows('cloud-a', 'mapping-database')),
    client: byPrefix(await rows('client', 'mapping-database')),
    cached: byPrefix(await rows('client', 'map-cache')),
  }
}

async function moveTo(lab: RunningLab, to: 'cloud-a' | 'cloud-b'): Promise<void> {
  const panel = openPanel(lab.topology, 'panel')
  try {
    const body = { eids: Object.values(VM1.addresses), instanceId: 7 }
    const answer = await lab.api(to, '/v1/moves', { method: 'POST', body })
    if (answer.status !== 201) throw new Error(JSON.stringify(answer.body))
    panel.flip(to)
    await announceEndpoint(lab.topology, 'vm1')
    await poll(5_000, async () => {
      const { body } = await lab.api(to, '/v1/mapping-database')
      const entry = listIn(body).find(({ eidPrefix }) => eidPrefix === VM1_PREFIX)
      return entry?.['registered'] ? undefined : `vm1 is not registered at ${to}`
    })
    for (const address of Object.values(VM1.addresses))
      await lab.run('host1', 'ping', '-c', '3', '-i', '0.2', '-q', address)
  } finally {
    panel.close()
  }
}

/** Waits up to 3 s until these counters have risen by `count` in sum; by how much they have. */
async function risenTo(
  lab: RunningLab,
  node: Node,
  before: ReadonlyMap<string, number>,
  names: readonly string[],
  count: number,
): Promise<number> {
  const until = performance.now() + 3_000
  for (;;) {
    const sum = sumOf(risen(before, await metricsOf(lab, node)), names)
    if (sum >= count || performance.now() > until) return sum
    await pause(50)
  }
}

function sumOf(rise: Readonly<Record<string, number>>, names: readonly string[]): number {
  return Object.entries(rise)
    .filter(([name]) => names.some((one) => name.startsWith(`${one}{`)))
    .reduce((sum, [, value]) => sum + value, 0)
}

function keysOf(lab: RunningLab): Scene['keys'] {
  const loaded = loadConfig(configPath(lab, 'cloud-a'))
  if (!loaded.ok) throw new Error('configuration of cloud-a is not valid')
  const config: NodeConfig = loaded.nodeConfig
  return { clouds: config.mapServers[0]!.key, mobility: config.mobility.key! }
}

function recordOf(eidPrefix: string, rloc = ATTACKER) {
  return aMapping({ eidPrefix, locators: [rloc] })
}

function registerOf(prefix: string, nonce: bigint) {
  return aMapRegister({ nonce, records: [recordOf(`[7]${prefix}`)], identity: anIdentity(0xee) })
}

function notifyOf(nonce: bigint): MapNotify {
  const signature = { keyId: 0, algorithm: 0, authenticationData: new Uint8Array(0) }
  const records = [{ ...recordOf(VM1_PREFIX), mapVersion: 4000 }]
  return { kind: 'map-notify', nonce, ...signature, records, identity: undefined }
}

function moveOf(phase: MoveMessage['phase'], nonce: bigint): MoveMessage {
  return {
    kind: 'move',
    ...{ phase, nonce, moveId: nonce, reason: 'none' as const, senders: [] },
    ...{ keyId: 0, algorithm: 0, authenticationData: new Uint8Array(0) },
    records: [recordOf(VM1_PREFIX)],
    endpointMac: new Uint8Array(6),
    identity: anIdentity(0xee),
  }
}

function isRegister({ message }: Captured): boolean {
  return message.kind === 'map-register'
}

function bigintText(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  return value instanceof Uint8Array ? [...value].join(',') : value
}
