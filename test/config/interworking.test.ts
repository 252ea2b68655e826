/**
 * The keys of interworking (RFC 6832) and locator paths (RFC 8060 §4.6): what the core reads of them,
 * and what an operator is told when they do not fit together.
 */
import t from 'tap'
import { parseConfig } from '../../src/config/load.js'
import { anAddress, aPrefix } from '../support/builders.js'

/** None of these configurations names a secret. */
const secret = () => ({ ok: false as const, problem: 'is not there' })
const BASE = `
node: proxy
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: net0}]
mapResolvers: [172.16.4.1]
`

function errorsOf(text: string): string[] {
  const result = parseConfig(text, secret)
  return result.ok ? [] : result.errors.map((one) => `${one.path} ${one.problem}`)
}

t.test('prefixes, Proxy-ETRs, translations and paths reach the core', async (t) => {
  const text = `
node: proxy
roles: [itr, etr, pitr, petr, rtr]
rlocs:
  - address: 172.16.1.1
    interface: core0
    path: [{address: 172.16.2.1, probe: true}, {address: 10.99.0.1, lookup: true, strict: false}]
siteInterfaces: [{name: net0}]
mapResolvers: [172.16.4.1]
pitr: {prefixes: [{prefix: 10.61.0.0/24, instanceId: 3}]}
petr: {rlocs: [172.16.3.1], sites: [{prefix: 'fd00:61::/64'}]}
lispNat: [{inside: 10.62.0.0/24, outside: 203.0.113.0/24, instanceId: 3}]
`
  const result = parseConfig(text, secret)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  const { interworking, rlocs } = result.nodeConfig
  t.same(interworking, {
    petrRlocs: [anAddress('172.16.3.1')],
    attracted: [aPrefix('[3]10.61.0.0/24')],
    sites: [aPrefix('fd00:61::/64')],
    translations: [{ inside: aPrefix('[3]10.62.0.0/24'), outside: aPrefix('203.0.113.0/24') }],
  })
  const hop = (text: string) => ({ kind: 'ip', address: anAddress(text) })
  t.same(rlocs[0]?.path, [
    { lookup: false, probe: true, strict: true, address: hop('172.16.2.1') },
    { lookup: true, probe: false, strict: false, address: hop('10.99.0.1') },
  ])
})

t.test('a role without its keys is an error, a key without its role a warning', async (t) => {
  t.same(errorsOf(`${BASE}roles: [pitr, petr]`), [
    'pitr.prefixes is empty, but the role is pitr',
    'petr.sites is empty, but the role is petr',
  ])
  const rtr = 'node: r\nroles: [rtr]\nrlocs: [{address: 172.16.1.1, interface: core0}]\n'
  t.same(errorsOf(rtr), ['mapResolvers is empty, but the role rtr has to ask somebody'])
  t.same(errorsOf(`${rtr}mapResolvers: [172.16.4.1]\ndatapath: {kind: none}`), [
    'datapath.kind is none, but rtr forwards packets',
  ])
  const idle = `${BASE}roles: [itr]\npitr: {prefixes: [{prefix: 10.0.0.0/8}]}\n`
  const result = parseConfig(`${idle}petr: {sites: [{prefix: 10.0.0.0/8}]}`, secret)
  t.ok(result.ok)
  const warnings = result.ok ? result.warnings.map((one) => one.path) : []
  t.ok(warnings.includes('pitr') && warnings.includes('petr.sites'), warnings.join())
})

t.test('translations are one to one, and nobody is a relay to himself', async (t) => {
  const itr = `${BASE}roles: [itr]\n`
  t.same(errorsOf(`${itr}lispNat: [{inside: 10.0.0.0/24, outside: 203.0.113.0/25}]`), [
    'lispNat[0].outside 203.0.113.0/25 has not the size of 10.0.0.0/24',
  ])
  t.same(errorsOf(`${itr}lispNat: [{inside: 10.0.0.0/24, outside: 'fd00::/24'}]`), [
    'lispNat[0].outside fd00::/24 has not the size of 10.0.0.0/24',
  ])
  t.same(errorsOf(`${itr}petr: {rlocs: [172.16.1.1]}`), [
    'petr.rlocs[0] 172.16.1.1 is our own RLOC',
  ])
  const path = (hops: string) =>
    errorsOf(itr.replace('interface: core0}', `interface: core0, path: [${hops}]}`))
  t.same(path('{address: 172.16.1.1}'), ['rlocs[0].path[0].address 172.16.1.1 is our own RLOC'])
  t.same(path("{address: 'fd00::1'}"), [
    'rlocs[0].path[0].address is IPv6, but the path ends at 172.16.1.1',
  ])
  t.same(path("{address: 'fd00::1', lookup: true}"), [], 'a looked-up hop may be of either family')
  t.same(path('{address: nobody}'), ['rlocs[0].path[0].address "nobody" is not an address'])
})
