/**
 * The packet vectors on the BPF programs, through test runs.
 */
import t from 'tap'
import type { ClosedSwitches } from '../../src/control/closed-network/closed-vocabulary.js'
import { encodeBpfRlocKey, LOCAL_EID_FLAGS, NODE_FLAGS } from '../../src/datapath/abi.generated.js'
import { createClosedTables } from '../../src/datapath/bpf-closed.js'
import { u32Key } from '../../src/datapath/bpf-maps.js'
import { bench } from './bpf-fixtures.js'
import { ipFrame, openFrame } from './frames.js'
import { groupMacOf } from './packets.js'
import { groupNamed, putReplication } from './replication-puts.js'
import { PACKET_VECTORS } from './vectors/all.js'
import type { PacketVector, VectorCopies, VectorStep } from './vectors/vector.js'
import { MAC, VERDICT } from './workbench.js'

for (const { title, vectors } of PACKET_VECTORS)
  t.test(title, async (t) => {
    for (const vector of vectors) await run(t, vector)
  })

type Test = Pick<typeof t, 'same' | 'equal' | 'ok'>

const SWITCHES: Readonly<Record<Exclude<keyof ClosedSwitches, 'relays'>, number>> = {
  echoNonce: NODE_FLAGS['echo-nonce'],
  statusBits: NODE_FLAGS['status-bits'],
  mapVersions: NODE_FLAGS['map-versions'],
  checkSources: NODE_FLAGS['check-sources'],
  glean: NODE_FLAGS['glean'],
}

async function run(test: Test, vector: PacketVector): Promise<void> {
  if (vector.steps.some((step) => step.raises)) await bench.drainEvents()
  const closed = createClosedTables(bench.maps)
  const { relays = [], ...switches } = vector.closed ?? {}
  const wanted = Object.entries(switches) as [keyof typeof SWITCHES, boolean][]
  const relayKeys = relays.map(({ family, bytes }) =>
    encodeBpfRlocKey({
      family,
      address: Uint8Array.of(...bytes, ...new Uint8Array(12)).slice(0, 16),
    }),
  )
  for (const key of relayKeys) bench.maps.update('relay_rlocs', key, u32Key(1))
  const groups = vector.groups === undefined ? 0 : NODE_FLAGS.multicast
  const flags = wanted.reduce((sum, [key, on]) => sum | (on ? SWITCHES[key] : 0), groups)
  bench.putNode({ flags, holdInterfaceIndex: vector.noHold ? 0 : bench.network.site })
  for (const [prefix, { state, ...about }] of Object.entries(vector.locals ?? {})) {
    const reports = about.reportSenders ? LOCAL_EID_FLAGS['report-senders'] : 0
    const flags = reports | (about.uncommitted ? LOCAL_EID_FLAGS['no-proxy'] : 0)
    bench.putLocal(prefix, state, { mac: MAC.host, flags })
  }
  for (const [prefix, { action, to }] of Object.entries(vector.mappings ?? {}))
    bench.putMapCache(prefix, action, to)
  const replication = bench.replicationTables()
  for (const [text, fields] of Object.entries(vector.groups ?? {}))
    replication.perform(putReplication(text, fields))
  for (const operation of vector.facts ?? []) closed.perform(operation)
  for (const [index, step] of vector.steps.entries()) {
    for (const operation of step.operations ?? []) closed.perform(operation)
    await runStep(test, step, `${vector.name}, packet ${index + 1} ${step.what ?? ''}`)
  }
  for (const prefix of Object.keys(vector.locals ?? {})) bench.deleteLocal(prefix)
  for (const prefix of Object.keys(vector.mappings ?? {})) bench.deleteMapCache(prefix)
  for (const [text, { instanceId }] of Object.entries(vector.groups ?? {}))
    replication.perform({ kind: 'delete-replication', group: groupNamed(text, instanceId) })
  replication.close()
  for (const key of relayKeys) bench.maps.remove('relay_rlocs', key)
  bench.emptyHold()
  bench.putNode({})
}

async function runStep(test: Test, step: VectorStep, name: string): Promise<void> {
  const { out, frame, tally } = step
  const seen = bench.raised.length
  const before = tally && bench.tallies(tally)
  const held = bench.tallies('held')
  const dropped = typeof out === 'object' && 'drop' in out ? bench.drops(out.drop) : 0
  const lost = typeof out === 'object' && 'copies' in out ? countDrops(out) : []
  if (typeof out === 'object' && 'copies' in out) await bench.captured()
  const { verdict, packet } = step.from === 'site' ? bench.fromSite(frame) : bench.fromCore(frame)
  if (out === 'pass') {
    test.equal(verdict, VERDICT.pass, name)
    test.same(packet, frame, `${name}: unchanged`)
  } else if (out === 'held') {
    test.equal(verdict, VERDICT.redirect, name)
    test.equal(bench.tallies('held'), held + 1, `${name}: held`)
  } else if ('drop' in out) {
    test.equal(verdict, VERDICT.drop, `${name}: dropped`)
    test.equal(bench.drops(out.drop), dropped + 1, `${name}: ${out.drop}`)
  } else if ('site' in out) {
    test.equal(verdict, VERDICT.redirect, name)
    test.same(packet, ipFrame(MAC.host, MAC.site, out.site), `${name}: to the host`)
  } else if ('copies' in out) {
    const last = verdict === VERDICT.redirect ? [packet] : []
    if (last.length === 0) test.equal(verdict, VERDICT.drop, `${name}: nothing is left of it`)
    await compareCopies(test, out, last, name)
    test.same(
      countDrops(out),
      lost.map((before, at) => before + (out.drops ?? []).filter((_, i) => i === at).length),
      `${name}: drops`,
    )
  } else {
    test.equal(verdict, VERDICT.redirect, name)
    test.same(taken(packet), taken(ipFrame(MAC.router, MAC.core, out.core)), name)
  }
  if (tally) test.equal(bench.tallies(tally), before! + 1, `${name}: counted as ${tally}`)
  if (step.raises) await raised(test, step, seen, name)
}

function countDrops({ drops = [] }: VectorCopies): number[] {
  return drops.map((reason) => bench.drops(reason))
}

/** Clones have left by themselves; the last copy is what the program returns. */
async function compareCopies(
  test: Test,
  wanted: VectorCopies,
  last: readonly Uint8Array[],
  name: string,
): Promise<void> {
  const left = await bench.captured()
  const core = [...left.core1, ...last].map(taken)
  const expected = wanted.copies.map((one) => taken(ipFrame(nextMac(one), MAC.core, one)))
  test.same(core, expected, `${name}: copies`)
  for (const [segment, peer, mac] of SEGMENTS) {
    const packet = wanted.segments?.[segment]
    const frames = packet === undefined ? [] : [ipFrame(groupMacOf(packet), mac, packet)]
    test.same(left[peer], frames, `${name}: ${segment}`)
  }
}

/** Groups of the core have MAC addresses of their own; all else goes by the router. */
function nextMac(packet: Uint8Array): string {
  const isGroup = packet[0]! >> 4 === 4 ? packet[16]! >> 4 === 14 : packet[24] === 0xff
  return isGroup ? groupMacOf(packet) : MAC.router
}

const SEGMENTS = [
  ['site0', 'site1', MAC.site],
  ['site2', 'site3', MAC.site2],
] as const

/** Events come by a thread: those of this step, when all have come. */
async function raised(test: Test, step: VectorStep, seen: number, name: string): Promise<void> {
  const wanted = step.raises ?? []
  await bench.drainEvents()
  test.same(bench.raised.slice(seen).map(plain), wanted.map(plain), `${name}: events`)
}

function plain(event: object): unknown {
  return JSON.parse(JSON.stringify(event))
}

function taken(frame: Uint8Array) {
  const { outer, inner, destinationMac, sourceMac } = openFrame(frame)
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  return { outer: hex(outer), inner: hex(inner), destinationMac, sourceMac }
}
