/**
 * The three ways from site A to site B over the same links, one at a time: kernel forwarding with
 * routes in the core, the kernel's VXLAN, and Godwit; and Godwit between peers that speak RFC 9305.
 *
 * Switching takes the former way down completely, and the new one is believed only when a ping
 * passes and the counters say that it went this way, in the right outer family. VXLAN gets its best
 * settings: no outer checksum, GRO on the interfaces that carry its RLOCs.
 */
import type { BenchNetwork, NodeName } from './network.js'
import { inNode, ipInNode } from './network.js'
import { CORE_MTU, type Family, HOST_B, RLOC, SITE } from './topology.js'

export const SYSTEMS = ['godwit', 'vxlan', 'plain', 'rfc9305'] as const
export type System = (typeof SYSTEMS)[number]
/** Whether super-packets cross the core whole, or packets of MTU size as from a NIC. */
export type Core = 'gso' | 'mtu'

export interface Paths {
  /** Makes `system` the only way. Rejects when traffic does not pass, or passes another way. */
  use(system: System, inner: Family): Promise<void>
  setCore(core: Core): Promise<void>
}

export interface PathOptions {
  /** GRO on VXLAN's RLOC interfaces; on is best for TCP, off for small UDP. */
  readonly vxlanGro: boolean
}

/** A fresh network is Godwit's. */
export function createPaths(network: BenchNetwork, options: PathOptions): Paths {
  let current: System = 'godwit'
  let core: Core | undefined
  return {
    async use(system, inner) {
      if (system !== current) {
        await takeDown(current, network)
        await bringUp(system, network, options)
        current = system
      }
      await verify(system, inner, network)
    },
    async setCore(wanted) {
      if (wanted === core) return
      // Without transmit offloads the core cuts super-packets and fills in checksums itself.
      const words = wanted === 'mtu' ? ['tx', 'off'] : ['tx', 'on', 'tso', 'on', 'gso', 'on']
      const script = `ethtool -K a ${words.join(' ')}; ethtool -K b ${words.join(' ')}`
      await inNode('core', ['sh', '-c', script])
      core = wanted
    },
  }
}

async function bringUp(system: System, network: BenchNetwork, options: PathOptions): Promise<void> {
  switch (system) {
    case 'plain':
      await ipInNode('core', coreRoutes('add'))
      break
    case 'vxlan':
      await Promise.all([
        ipInNode('xa', vxlanDevice('a', network.rlocFamily)),
        ipInNode('xb', vxlanDevice('b', network.rlocFamily)),
      ])
      await setGro(options.vxlanGro)
      break
    case 'rfc9305':
      await setGro(true)
      await attach(network, true)
      break
    case 'godwit':
      await attach(network, false)
  }
}

async function takeDown(system: System, network: BenchNetwork): Promise<void> {
  switch (system) {
    case 'plain':
      await ipInNode('core', coreRoutes('del'))
      break
    case 'vxlan':
      await Promise.all(XTRS.map((node) => ipInNode(node, ['link del dev vx0'])))
      await setGro(false)
      break
    case 'rfc9305':
      await setGro(false)
      await askBoth(network, { do: 'gpe', on: false })
      await askBoth(network, { do: 'detach' })
      break
    case 'godwit':
      await askBoth(network, { do: 'detach' })
  }
}

/** The flag can be set only where locators are known, so site B is asked for first. */
async function attach(network: BenchNetwork, gpe: boolean): Promise<void> {
  await askBoth(network, { do: 'attach' })
  if (!gpe) return
  await Promise.all([ping(HOST_B[4]), ping(HOST_B[6])])
  await askBoth(network, { do: 'gpe', on: true })
}

function askBoth(
  { agents }: BenchNetwork,
  request: Parameters<BenchNetwork['agents']['xa']['ask']>[0],
): Promise<unknown> {
  return Promise.all([agents.xa.ask(request), agents.xb.ask(request)])
}

async function setGro(on: boolean): Promise<void> {
  const words = ['ethtool', '-K', 'core0', 'gro', on ? 'on' : 'off']
  await Promise.all(XTRS.map((node) => inNode(node, words)))
}

function coreRoutes(verb: 'add' | 'del'): string[] {
  return FAMILIES.flatMap((family) =>
    (['a', 'b'] as const).map(
      (site) => `route ${verb} ${SITE[site][family]} via ${RLOC[site][family]}`,
    ),
  )
}

function vxlanDevice(own: 'a' | 'b', family: Family): string[] {
  const other = own === 'a' ? 'b' : 'a'
  const [here, there] = own === 'a' ? [1, 2] : [2, 1]
  const checksums = family === 6 ? 'udp6zerocsumtx udp6zerocsumrx' : 'noudpcsum'
  const ends = `local ${RLOC[own][family]} remote ${RLOC[other][family]}`
  return [
    `link add vx0 type vxlan id 100 ${ends} dstport 4789 ${checksums}`,
    'link set dev vx0 mtu 1500 up',
    `address add 192.168.9.${here}/24 dev vx0`,
    `address add fd00:9::${here}/64 dev vx0 nodad`,
    `route add ${SITE[other][4]} via 192.168.9.${there}`,
    `route add ${SITE[other][6]} via fd00:9::${there}`,
  ]
}

/** The first packets may wait for a mapping or a neighbour; then every one must pass, this way. */
async function verify(system: System, inner: Family, network: BenchNetwork): Promise<void> {
  const outer = system === 'plain' ? inner : network.rlocFamily
  await ping(HOST_B[inner])
  const before = await wayOf(system, network)
  await inNode('ha', ['ping', '-q', '-c', String(PINGS), '-i', '0.002', '-W', '1', HOST_B[inner]])
  const after = await wayOf(system, network)
  const forwarded = {
    4: after.forwarded4 - before.forwarded4,
    6: after.forwarded6 - before.forwarded6,
  }
  const problems = [
    forwarded[outer] >= 2 * PINGS ? '' : `the core forwarded ${forwarded[outer]} of IPv${outer}`,
    (system === 'godwit' || system === 'rfc9305') === after.encapsulated > before.encapsulated
      ? ''
      : `Godwit encapsulated ${after.encapsulated - before.encapsulated}`,
    (system === 'vxlan') === after.vxlan > before.vxlan
      ? ''
      : `VXLAN sent ${after.vxlan - before.vxlan}`,
  ].filter((problem) => problem !== '')
  if (problems.length > 0) throw new Error(`${system} is not the way: ${problems.join('; ')}`)
}

async function ping(address: string): Promise<void> {
  const words = ['ping', '-q', '-c', '1', '-W', '1', address]
  for (let attempt = 1; ; attempt += 1) {
    try {
      await inNode('ha', words)
      return
    } catch (cause) {
      if (attempt === ATTEMPTS) throw new Error(`${address} does not answer`, { cause })
    }
  }
}

interface Way {
  readonly forwarded4: number
  readonly forwarded6: number
  readonly encapsulated: number
  readonly vxlan: number
}

async function wayOf(system: System, network: BenchNetwork): Promise<Way> {
  const [snmp, counts, vxlan] = await Promise.all([
    inNode('core', ['cat', '/proc/net/snmp', '/proc/net/snmp6']),
    network.agents.xa.ask({ do: 'counts' }),
    system === 'vxlan' ? sentBy('vx0') : 0,
  ])
  const [names = '', values = ''] = snmp.split('\n').filter((line) => line.startsWith('Ip: '))
  const column = names.split(' ').indexOf('ForwDatagrams')
  return {
    forwarded4: Number(values.split(' ')[column]),
    forwarded6: Number(/^Ip6OutForwDatagrams\s+(\d+)/m.exec(snmp)?.[1]),
    encapsulated: counts.encapsulated ?? 0,
    vxlan,
  }
}

async function sentBy(device: string): Promise<number> {
  const text = await inNode('xa', ['ip', '-s', '-j', 'link', 'show', 'dev', device])
  const [link] = JSON.parse(text) as { stats64: { tx: { packets: number } } }[]
  return link!.stats64.tx.packets
}

const XTRS: readonly NodeName[] = ['xa', 'xb']
const FAMILIES: readonly Family[] = [4, 6]
const PINGS = 5
const ATTEMPTS = 4

/** VXLAN over IPv6 with an Ethernet header inside is the largest of all; it must fit. */
export const LARGEST_OVERHEAD = 40 + 8 + 8 + 14
if (1500 + LARGEST_OVERHEAD > CORE_MTU) throw new Error('the core is too narrow for VXLAN')
