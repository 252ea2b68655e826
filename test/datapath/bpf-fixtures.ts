/**
 * What the cases of the BPF programs share: one workbench, packets of a site host and of the core,
 * and the assertion that a frame was dropped for one reason.
 */
import t from 'tap'
import type { BpfDropReasonName, BpfEventTypeName } from '../../src/datapath/abi.generated.js'
import { type IpFields, ip, ipFrame, lispHeader, udp } from './frames.js'
import { createWorkbench, type Family, MAC, OWN_RLOC, PEER_RLOC, VERDICT } from './workbench.js'

export const bench = createWorkbench()
t.teardown(() => bench.close())
export const HOST = { 4: '10.1.0.2', 6: 'fd00:a::2' } as const
export const REMOTE = { 4: '10.2.0.2', 6: 'fd00:b::2' } as const
export const FAMILIES: readonly Family[] = [4, 6]
export const data = (length: number) => Uint8Array.from({ length }, (_, i) => i & 255)

bench.putSite(0)
bench.putNode({})
bench.startEvents()
for (const family of FAMILIES) bench.putRloc(OWN_RLOC[family])

/** A UDP packet of a site host, as the site interface gets it. */
export function fromHost(
  family: Family,
  fields: Partial<IpFields> = {},
  payload = udp(1000, 2000, data(64)),
): Uint8Array {
  const packet = ip({ source: HOST[family], destination: REMOTE[family], ...fields }, payload)
  return ipFrame(MAC.site, MAC.host, packet)
}

export interface OuterFields {
  readonly outer?: Partial<IpFields>
  readonly lisp?: Parameters<typeof lispHeader>[0]
}

/** An inner packet with LISP headers in front, as the underlay interface gets it. */
export function fromCore(family: Family, inner: Uint8Array, fields: OuterFields = {}): Uint8Array {
  const payload = udp(50000, 4341, new Uint8Array([...lispHeader(fields.lisp ?? {}), ...inner]))
  const outer = { source: PEER_RLOC[family], destination: OWN_RLOC[family], ...fields.outer }
  return ipFrame(MAC.core, MAC.router, ip(outer, payload))
}

/** A packet of the remote host to the local one. */
export function inbound(
  family: Family,
  fields: Partial<IpFields> = {},
  payload = udp(2000, 1000, data(64)),
): Uint8Array {
  return ip({ source: REMOTE[family], destination: HOST[family], ...fields }, payload)
}

/** Run, and assert that the frame is dropped for exactly this reason; a super-packet is several. */
export function dropped(
  test: Pick<typeof t, 'equal'>,
  reason: BpfDropReasonName,
  run: () => { verdict: number },
  what: string,
  packets = 1,
): void {
  const before = bench.drops(reason)
  test.equal(run().verdict, VERDICT.drop, `${what}: dropped`)
  test.equal(bench.drops(reason), before + packets, `${what}: counted as ${reason}`)
}

const TRIES = 20
const CLOCK_TICK_MS = 10 // the programs read the coarse clock

/** Cause the same event many times in a row: one per interval comes out, however slow the machine. */
export async function limited(
  test: Pick<typeof t, 'ok'>,
  type: BpfEventTypeName,
  address: string,
  intervalMs: number,
  run: () => unknown,
): Promise<void> {
  const before = bench.countEvents(type, address)
  const startedAt = performance.now()
  for (let i = 0; i < TRIES; i++) run()
  const most = 1 + Math.floor((performance.now() - startedAt + CLOCK_TICK_MS) / intervalMs)
  await bench.event(type, address)
  const count = bench.countEvents(type, address) - before
  test.ok(
    count >= 1 && count <= most && most < TRIES,
    `${type}: ${count} of ${TRIES}, at most ${most}`,
  )
}
