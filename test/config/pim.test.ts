/**
 * The keys of PIM (RFC 7761, RFC 6831): what the core reads of them, and what an operator is told.
 */
import t from 'tap'
import { parseConfig } from '../../src/config/load.js'
import { anAddress, aPrefix } from '../support/builders.js'

/** None of these configurations names a secret. */
const secret = () => ({ ok: false as const, problem: 'is not there' })

function parse(pim: string) {
  return parseConfig(
    `
node: edge
roles: [itr, etr]
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: net0}]
mapResolvers: [172.16.4.1]
multicast: {enabled: true, pim: ${pim}}
`,
    secret,
  )
}

t.test(
  'routes to sources, rendezvous points, joiners and groups of the core reach the core',
  async (t) => {
    const result = parse(`{
    enabled: true, helloSeconds: 5, drPriority: 7, joinSites: true, joiners: [172.16.0.0/16],
    sourceRoutes: [{prefix: 10.1.0.0/24, instanceId: 3, neighbour: 10.2.0.7}],
    rendezvousPoints: [{groups: 239.0.0.0/8, address: 10.1.0.9}],
    underlayMulticast: true, underlayGroups: [{groups: 232.1.0.0/16, address: 232.0.0.1}]
  }`)
    if (!result.ok) throw new Error(JSON.stringify(result.errors))
    t.same(result.nodeConfig.multicast.pim, {
      drPriority: 7,
      helloMs: 5000,
      sourceRoutes: [{ sources: aPrefix('[3]10.1.0.0/24'), neighbour: anAddress('10.2.0.7') }],
      rendezvousPoints: [{ groups: aPrefix('239.0.0.0/8'), address: anAddress('10.1.0.9') }],
      joinSites: true,
      joiners: [aPrefix('172.16.0.0/16')],
      underlayMulticast: true,
      underlayGroups: [{ groups: aPrefix('232.1.0.0/16'), address: anAddress('232.0.0.1') }],
    })
    const off = parse('{enabled: false}')
    t.equal(off.ok && off.nodeConfig.multicast.pim, undefined)
  },
)

t.test(
  'what is no address, no prefix, no group or of another family is named with its place',
  async (t) => {
    const result = parse(`{
    enabled: true, joiners: [near], sourceRoutes: [{prefix: '10.1', neighbour: router}],
    rendezvousPoints: [{groups: 10.0.0.0/8, address: 10.1.0.9}, {groups: 239.0.0.0/8, address: 'fd00::9'}],
    underlayGroups: [{groups: 232.1.0.0/16, address: 10.1.0.9}]
  }`)
    const errors = result.ok ? [] : result.errors.map(({ path, problem }) => `${path} ${problem}`)
    t.same(errors.sort(), [
      'multicast.pim.joiners[0] "near" is not a prefix',
      'multicast.pim.rendezvousPoints[0].groups 10.0.0.0/8 are no groups',
      'multicast.pim.rendezvousPoints[1].address fd00::9 is of another family than 239.0.0.0/8',
      'multicast.pim.sourceRoutes[0].neighbour "router" is not an address',
      'multicast.pim.sourceRoutes[0].prefix "10.1" is not a prefix',
      'multicast.pim.underlayGroups[0].address 10.1.0.9 is no group',
    ])
  },
)
