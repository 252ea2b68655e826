/**
 * The network of the benchmark: host - xTR - core - xTR - host, and a mapping system beside the core.
 *
 * The same namespaces and links carry plain forwarding, VXLAN and Godwit, so that nothing but the
 * path differs. The core's links take 1600 bytes, so that hosts send packets of 1500 whichever way
 * they go. Site B owns prefixes that are used once each (resolution) and large ones (cache scale).
 */
import { type LoadedTopology, parseTopology } from '../src/lab/topology.js'

export type Family = 4 | 6

export const BENCH = 'bench'
export const INSTANCE_ID = 7
/** Prefixes 10.33.0.0/24 … 10.33.9.0/24 with a host .2 each: nobody asks for them before. */
export const UNKNOWN_EIDS = Array.from({ length: 10 }, (_, index) => `10.33.${index}.2`)
/** Room for 2^20 host EIDs. */
export const SCALE_HOSTS = '10.64.0.0'
/** Room for 2^17 prefixes of 26 bits. */
export const SCALE_PREFIXES = '10.128.0.0'
export const SCALE_PREFIX_LENGTH = 26

export const HOST_B: Readonly<Record<Family, string>> = { 4: '10.32.0.2', 6: 'fd00:32::2' }
export const SITE: Readonly<Record<'a' | 'b', Readonly<Record<Family, string>>>> = {
  a: { 4: '10.31.0.0/24', 6: 'fd00:31::/64' },
  b: { 4: '10.32.0.0/24', 6: 'fd00:32::/64' },
}
export const RLOC: Readonly<Record<'a' | 'b', Readonly<Record<Family, string>>>> = {
  a: { 4: '172.17.1.1', 6: 'fd00:d:1::1' },
  b: { 4: '172.17.2.1', 6: 'fd00:d:2::1' },
}
export const CORE_MTU = 1600

/** `rlocFamily` decides by priority which RLOC of an xTR is used; `maximumMappings` is xTR A's. */
export function benchmarkTopology(options: {
  readonly rlocFamily: Family
  readonly maximumMappings?: number
}): LoadedTopology {
  const prefixes = { a: Object.values(SITE.a), b: [...Object.values(SITE.b), ...SITE_B_PREFIXES] }
  const maximum =
    options.maximumMappings === undefined ? {} : { maximumMappings: options.maximumMappings }
  const document = {
    name: BENCH,
    topology: {
      nodes: {
        core: {
          kind: 'router',
          addresses: {
            a: ['172.17.1.254/24', 'fd00:d:1::fe/64'],
            b: ['172.17.2.254/24', 'fd00:d:2::fe/64'],
            mapping: ['172.17.4.254/24', 'fd00:d:4::fe/64'],
          },
        },
        xa: xtr('a', prefixes.a, options.rlocFamily, maximum, []),
        xb: xtr('b', prefixes.b, options.rlocFamily, {}, [
          ...['10.33.0.0/16', '10.64.0.0/12', '10.128.0.0/9'].map((to) => ({ to, via: HOST_B[4] })),
        ]),
        mapping: mappingNode(prefixes),
        ha: host('10.31.0', 'fd00:31::', []),
        hb: host(
          '10.32.0',
          'fd00:32::',
          UNKNOWN_EIDS.map((address) => `${address}/24`),
        ),
      },
      links: [
        { endpoints: ['core:a', 'xa:core0'], mtu: CORE_MTU },
        { endpoints: ['core:b', 'xb:core0'], mtu: CORE_MTU },
        { endpoints: ['core:mapping', 'mapping:core0'], mtu: CORE_MTU },
        { endpoints: ['xa:site0', 'ha:eth0'] },
        { endpoints: ['xb:site0', 'hb:eth0'] },
      ],
    },
  }
  const result = parseTopology(JSON.stringify(document))
  if (!result.ok) throw new Error(`the topology is wrong: ${JSON.stringify(result.errors)}`)
  return result
}

function xtr(
  site: 'a' | 'b',
  prefixes: readonly string[],
  rlocFamily: Family,
  datapath: object,
  routes: readonly object[],
): object {
  const number = site === 'a' ? 1 : 2
  const families: readonly Family[] = [4, 6]
  return {
    kind: 'xtr',
    addresses: {
      core0: [`${RLOC[site][4]}/24`, `${RLOC[site][6]}/64`],
      site0: [`10.3${number}.0.1/24`, `fd00:3${number}::1/64`],
    },
    routes: [
      { to: 'default', via: `172.17.${number}.254` },
      { to: 'default', via: `fd00:d:${number}::fe` },
      ...routes,
    ],
    config: {
      roles: ['itr', 'etr'],
      rlocs: families.map((family) => ({
        address: RLOC[site][family],
        interface: 'core0',
        priority: family === rlocFamily ? 1 : 2,
      })),
      siteInterfaces: [{ name: 'site0', instanceId: INSTANCE_ID }],
      eidPrefixes: prefixes.map((prefix) => ({
        prefix,
        instanceId: INSTANCE_ID,
        interface: 'site0',
      })),
      mapServers: [{ address: '172.17.4.1', key: { id: number, secretFile: `${site}.key` } }],
      mapResolvers: ['172.17.4.1'],
      datapath: { pathMtu: CORE_MTU, ...datapath },
    },
  }
}

function mappingNode(prefixes: Readonly<Record<'a' | 'b', readonly string[]>>): object {
  return {
    kind: 'mapping',
    addresses: { core0: ['172.17.4.1/24', 'fd00:d:4::1/64'] },
    routes: [
      { to: 'default', via: '172.17.4.254' },
      { to: 'default', via: 'fd00:d:4::fe' },
    ],
    config: {
      roles: ['map-server', 'map-resolver'],
      rlocs: [
        { address: '172.17.4.1', interface: 'core0' },
        { address: 'fd00:d:4::1', interface: 'core0' },
      ],
      datapath: { kind: 'none' },
      mapServer: {
        sites: (['a', 'b'] as const).map((site, index) => ({
          name: site,
          keys: [{ id: index + 1, secretFile: `${site}.key` }],
          prefixes: prefixes[site].map((prefix) => ({ prefix, instanceId: INSTANCE_ID })),
        })),
      },
    },
  }
}

function host(v4: string, v6: string, more: readonly string[]): object {
  return {
    kind: 'host',
    addresses: { eth0: [`${v4}.2/24`, `${v6}2/64`, ...more] },
    routes: [
      { to: 'default', via: `${v4}.1` },
      { to: 'default', via: `${v6}1` },
    ],
  }
}

const SITE_B_PREFIXES = [
  ...UNKNOWN_EIDS.map((address) => address.replace(/\.2$/, '.0/24')),
  `${SCALE_HOSTS}/12`,
  `${SCALE_PREFIXES}/9`,
]
