/**
 * Loading a configuration: what is filled in, what is refused, and that an operator hears
 * everything at once: path, line, problem and hint of each error.
 */
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { Value } from 'typebox/value'
import {
  formatAddressText,
  formatEidPrefixText,
  isUnicastAddress,
  parseAddressText,
  parseEidPrefixText,
  parseEidText,
  prefixCoversAddress,
} from '../../src/config/address-text.js'
import { validateConfig } from '../../src/config/compiled-validators.js'
import { type ConfigError, formatConfigErrors } from '../../src/config/config-error.js'
import { loadConfig, parseConfig } from '../../src/config/load.js'
import { ConfigSchema } from '../../src/config/schema.js'
import type { SecretFile } from '../../src/config/secrets.js'
import { temporaryDirectory } from '../support/fake-node.js'

const GOOD = `
node: cloud-a
roles: [itr, etr]
rlocs:
  - {address: 172.16.1.1, interface: core0}
  - {address: 'fd00:c:1::1', interface: core0, priority: 2}
siteInterfaces:
  - {name: br0, instanceId: 7}
dynamicEidPrefixes:
  - {prefix: 10.10.0.0/24, instanceId: 7, interface: br0}
  - {prefix: 'fd00:10::/64', instanceId: 7, interface: br0}
mapServers:
  - {address: 172.16.4.1, key: {id: 3, secretFile: clouds.key}, registerSeconds: 1.5}
mapResolvers: [172.16.4.1]
mobility:
  key: {secretFile: mobility.key, algorithm: hmac-sha-256-128}
  awaySeconds: 30
`

const readSecret = (path: string): SecretFile => {
  if (path.startsWith('missing')) return { ok: false, problem: 'cannot be read: no such file' }
  const text = path.startsWith('empty') ? ' \n' : `  secret of ${path}\n`
  return { ok: true, text, worldReadable: path.startsWith('open') }
}

t.test(
  'each use of names has an instance-ID of its own, and each beginning one site',
  async (t) => {
    const text = (hostsInstance: number, second: string) => `
node: names
roles: [map-server]
rlocs: [{address: 172.16.1.1, interface: core0}]
datapath: {kind: none}
mapServer:
  sites:
    - name: one
      keys: [{secretFile: one.key}]
      prefixes: [{prefix: 10.1.0.0/16}]
      names: [{use: ietf, instanceId: 7, prefix: ietf}, {use: hosts, instanceId: ${hostsInstance}}]
      geo: {instanceId: 9}
    - name: two
      keys: [{secretFile: two.key}]
      prefixes: [{prefix: 10.2.0.0/16}]
      names: [{use: ietf, instanceId: 7, prefix: ${second}}]
`
    const good = parseConfig(text(8, 'iana'), readSecret)
    t.ok(good.ok)
    if (!good.ok) return
    const [one] = good.nodeConfig.mapServer.sites
    t.match(one?.geo, { instanceId: 9, answers: 'none' }, 'nothing is given out unless wanted')
    t.match(one?.names, [
      { prefix: { instanceId: 7, name: new TextEncoder().encode('ietf') } },
      { prefix: { instanceId: 8, name: new Uint8Array(0) } },
    ])
    const problems = (hostsInstance: number, second: string) => {
      const outcome = parseConfig(text(hostsInstance, second), readSecret)
      return outcome.ok ? [] : outcome.errors.map(({ path, problem }) => `${path} ${problem}`)
    }
    t.strictSame(problems(7, 'iana'), [
      'mapServer.sites[0].names[1].instanceId 7 is the instance-ID of the names for ietf',
    ])
    t.strictSame(problems(8, 'ietf'), ['mapServer.sites[1].names[0].prefix "ietf" is there twice'])
  },
)

t.test('a delegation tree is read with its keys, and every mistake in it is named', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const files: Record<string, string> = { 'own.pem': privateKey, 'child.pem': publicKey }
  const read = (path: string): SecretFile => {
    return { ok: true, text: files[path] ?? 'no key', worldReadable: false }
  }
  const common = `
node: tree
roles: [ddt-node, map-resolver]
rlocs: [{address: 172.16.1.1, interface: core0}]
datapath: {kind: none}
`
  const good = parseConfig(
    `${common}
ddt:
  roots: [172.16.9.1]
  rootKeyFiles: [child.pem]
  root: true
  signingKeyFiles: [own.pem]
  delegations:
    - {instanceId: 7, nodes: [172.16.9.2], keyFiles: [child.pem]}
    - {prefix: 10.1.0.0/16, mapServers: [172.16.9.3]}
`,
    read,
  )
  if (!good.ok) return t.fail(JSON.stringify(good.errors))
  t.same(good.warnings, [])
  const { ddt } = good.nodeConfig
  t.same(
    ddt.delegations.map(({ eidPrefix }) => formatEidPrefixText(eidPrefix)),
    ['[7]0.0.0.0/0', '[7]::/0', '10.1.0.0/16'],
  )
  t.equal(ddt.rootKeys?.length, 1)
  t.same(ddt.signingKeys?.[0]?.publicKey, ddt.delegations[0]?.keys?.[0], 'the public half')
  const bad = parseConfig(
    `${common}
ddt:
  rootKeyFiles: [other.pem]
  authoritative: [{prefix: 10.1.0.1/16}]
  delegations:
    - {prefix: 10.1.0.0/16, mapServers: [172.16.9.3], nodes: [172.16.9.4]}
    - {prefix: 10.1.0.0/16}
`,
    read,
  )
  if (bad.ok) return t.fail('accepted')
  t.same(bad.errors.map(({ path }) => path).toSorted(), [
    'ddt.authoritative[0].prefix',
    'ddt.delegations[0]',
    'ddt.delegations[1]',
    'ddt.delegations[1].prefix',
    'ddt.rootKeyFiles[0]',
  ])
  const silent = parseConfig(common, read)
  t.match(silent.ok ? [] : silent.errors, [{ path: 'ddt', problem: /role is ddt-node/ }])
})

t.test('a good file gives both views, with defaults, bytes and milliseconds', async (t) => {
  const result = parseConfig(GOOD, readSecret)
  if (!result.ok) return t.fail(JSON.stringify(result.errors))
  const { config, nodeConfig, warnings } = result
  t.same(warnings, [])
  t.equal(config.hold.packetsPerEid, 20_000)
  t.equal(config.rlocs[0]?.weight, 100)
  t.equal(config.api.tcp, undefined)
  t.same(nodeConfig.rlocs[0], {
    address: { family: 4, bytes: Uint8Array.of(172, 16, 1, 1) },
    interfaceName: 'core0',
    priority: 1,
    weight: 100,
  })
  t.equal(nodeConfig.dynamicEidPrefixes[1]?.eidPrefix.maskLength, 64)
  const [server] = nodeConfig.mapServers
  t.same(server?.key, {
    keyId: 3,
    algorithm: 3,
    secret: new TextEncoder().encode('secret of clouds.key'),
  })
  t.equal(server?.registerMs, 1500)
  t.equal(nodeConfig.mobility.key?.algorithm, 2)
  t.equal(nodeConfig.mobility.awayMs, 30_000)
  t.equal(nodeConfig.missHoldMs, 5000)
  t.equal(nodeConfig.rlocProbe.intervalMs, 10_000)
  t.notOk(Object.values(nodeConfig.closedNetwork!).includes(true), 'public by default')
})

t.test('keys of LISP-SEC are read, and each mistake in them is named', async (t) => {
  const SECURED = `
node: everything
roles: [itr, etr, map-resolver, map-server]
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: br0, instanceId: 7}]
eidPrefixes: [{prefix: 10.10.0.0/24, instanceId: 7, interface: br0}]
mapServers:
  - {address: 172.16.4.1, key: {secretFile: site.key}, security: {mode: require, keys: [{id: 3, secretFile: etr.key}]}}
mapResolvers: [172.16.4.1]
mapServer:
  sites:
    - {name: blue, keys: [{secretFile: blue.key}], prefixes: [{prefix: 10.20.0.0/16}], security: {key: {secretFile: blue-etr.key}}}
security:
  mode: require
  mapResolvers: [{address: 172.16.4.1, key: {id: 9, secretFile: itr.key}}]
  requesterKeys: [{secretFile: itrs.key, wrapping: null-key-wrap-128, pathIsSecured: true}]
  mapServers: [{key: {secretFile: servers.key}}]
`
  const good = parseConfig(SECURED, readSecret)
  t.equal(good.ok, true, good.ok ? '' : JSON.stringify(good.errors))
  if (!good.ok) return
  const { nodeConfig } = good
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const aes = { wrapping: 2 } as const
  t.same(nodeConfig.security, {
    mode: 'require',
    mapResolvers: [
      {
        address: parseAddressText('172.16.4.1'),
        key: { keyId: 9, ...aes, secret: bytes('secret of itr.key') },
      },
    ],
    requesterKeys: [{ keyId: 0, wrapping: 1, secret: bytes('secret of itrs.key') }],
    mapServers: [
      { address: undefined, key: { keyId: 0, ...aes, secret: bytes('secret of servers.key') } },
    ],
  })
  t.match(nodeConfig.mapServers[0]!.security, { mode: 'require', keys: [{ keyId: 3 }] })
  t.match(nodeConfig.mapServer.sites[0]!.security, { mode: 'offer', key: { keyId: 0 } })

  const wrong = (from: string, to: string): string[] => {
    const result = parseConfig(SECURED.replace(from, to), readSecret)
    const found = result.ok ? result.warnings : result.errors
    return found.map(({ path, problem }) => `${path}: ${problem}`)
  }
  t.match(wrong('etr.key}]', 'itr.key}]'), [
    /^mapServers\[0\].security.keys\[0\].secretFile: is a key of requests too/,
  ])
  t.match(wrong('blue-etr.key', 'servers.key'), [
    /^mapServer.sites\[0\].security.key.secretFile: is a key of requests too/,
  ])
  t.match(wrong(', pathIsSecured: true', ''), [/^security.requesterKeys\[0\].wrapping: .*in clear/])
  t.match(wrong('mapResolvers: [172.16.4.1]', 'mapResolvers: [172.16.4.1, 172.16.4.2]'), [
    /^mapResolvers\[1\]: there is no key of 172.16.4.2/,
  ])
  t.match(
    wrong('[{address: 172.16.4.1, key: {id', '[{address: nowhere, key: {id'),
    [/^mapResolvers\[0\]/, /"nowhere" is not an address/].toSorted(() => -1),
  )
  t.match(wrong('  requesterKeys', '  # requesterKeys'), [/^security.requesterKeys: is empty/])
  t.match(wrong('itr.key', 'missing.key'), [/missing.key: cannot be read/])
})

t.test('what subscriptions of a configuration cannot be is named', async (t) => {
  const SUBSCRIBED = `
node: mapping
roles: [map-server]
rlocs: [{address: 172.16.4.1, interface: core0}]
datapath: {kind: none}
mapServer: {sites: [{name: blue, keys: [{secretFile: blue.key}], prefixes: [{prefix: 10.20.0.0/16}]}]}
subscriptions:
  mapResolvers: [172.16.4.2]
  subscribers:
    - {xtrId: '00112233445566778899aabbccddeeff', rlocs: [172.16.1.1], key: {secretFile: a.key}, configured: [{prefix: 10.20.0.0/24, nonce: 77}]}
    - {xtrId: 'ffeeddccbbaa99887766554433221100', rlocs: [172.16.1.2], key: {secretFile: b.key}}
`
  const good = parseConfig(SUBSCRIBED, readSecret)
  t.equal(good.ok, true, good.ok ? '' : JSON.stringify(good.errors))
  if (!good.ok) return
  t.match(good.nodeConfig.subscriptions.subscribers[0]!.configured, [
    { eidPrefix: { maskLength: 24 }, nonce: 77n },
  ])
  const wrong = (from: string, to: string): string[] => {
    const result = parseConfig(SUBSCRIBED.replace(from, to), readSecret)
    return (result.ok ? result.warnings : result.errors).map((one) => `${one.path}: ${one.problem}`)
  }
  t.match(wrong('172.16.4.2', '224.0.0.1'), [/^subscriptions.mapResolvers\[0\]: .*cannot be/])
  t.match(wrong('[172.16.1.2]', '[fd00::2]'), [
    /^subscriptions.subscribers\[1\].rlocs\[0\]: no RLOC of ours can reach/,
  ])
  t.match(wrong('ffeeddccbbaa99887766554433221100', '00112233445566778899aabbccddeeff'), [
    /^subscriptions.subscribers\[1\].xtrId: .*twice/,
  ])
  t.match(wrong(', key: {secretFile: a.key}', ''), [
    /^subscriptions.subscribers\[0\].configured: .*needs? a key/,
  ])
  t.match(wrong('10.20.0.0/24', '10.20.0.9/24'), [/configured\[0\].prefix: .*host bits/])
  t.match(wrong('a.key', 'missing-a.key'), [/missing-a.key: cannot be read/])
  t.match(wrong('mapResolvers: [172', 'lifetimeSeconds: 600\n  mapResolvers: [172'), [
    /^subscriptions.temporarySeconds: is 900/,
  ])
})

t.test('the xTR-ID comes from the node name unless it is given', async (t) => {
  const derived = parseConfig(GOOD, readSecret)
  const again = parseConfig(GOOD, readSecret)
  const other = parseConfig(GOOD.replace('cloud-a', 'cloud-b'), readSecret)
  const given = parseConfig(`${GOOD}xtrId: '000102030405060708090a0b0c0d0e0f'\n`, readSecret)
  if (!derived.ok || !again.ok || !other.ok || !given.ok) return t.fail('all four are valid')
  t.equal(derived.nodeConfig.xtrId.length, 16)
  t.same(derived.nodeConfig.xtrId, again.nodeConfig.xtrId)
  t.notSame(derived.nodeConfig.xtrId, other.nodeConfig.xtrId)
  t.same([...given.nodeConfig.xtrId], [...Array(16).keys()])
})

/** Each: what is changed in GOOD, and the errors that must come back, as [path, problem, hint]. */
const BAD: readonly {
  readonly name: string
  readonly text: string
  readonly errors: readonly (readonly [path: string, problem: RegExp, hint: RegExp])[]
}[] = [
  {
    name: 'misspelt and unknown keys get the nearest valid one',
    text: GOOD.replace('address: 172.16.1.1', 'adress: 172.16.1.1').replace(
      'awaySeconds: 30',
      'awaySecond: 30\n  zzzzzzzzz: 1',
    ),
    errors: [
      ['rlocs[0].adress', /^unknown key$/, /did you mean address\?/],
      ['rlocs[0].address', /^missing$/, /IPv4 or IPv6/],
      ['mobility.awaySecond', /^unknown key$/, /did you mean awaySeconds\?/],
      ['mobility.zzzzzzzzz', /^unknown key$/, /valid here: .*awaySeconds/],
    ],
  },
  {
    name: 'wrong types and ranges name the range',
    text: GOOD.replace('priority: 2', 'priority: 300')
      .replace('registerSeconds: 1.5', 'registerSeconds: often')
      .replace('node: cloud-a', 'node: Cloud_A\nxtrId: 12345\nhold: {missMs: 1}'),
    errors: [
      ['node', /Cloud_A/, /matching/],
      ['xtrId', /12345 is not of type string/, /put it in quotes: '12345'/],
      ['rlocs[1].priority', /300/, /0 to 255/],
      ['mapServers[0].registerSeconds', /"often" is not of type number/, /1 to 3600/],
      ['hold.missMs', /1/, /10 to 60000/],
    ],
  },
  {
    name: 'words outside a closed set list the set',
    text: GOOD.replace('[itr, etr]', '[itr, etr, map-sever]').replace(
      'hmac-sha-256-128',
      'hmac-md5',
    ),
    errors: [
      ['roles[2]', /"map-sever" is not allowed/, /did you mean map-server\?/],
      ['mobility.key.algorithm', /"hmac-md5" is not allowed/, /one of: hmac-sha-1-96, /],
    ],
  },
  {
    name: 'addresses and prefixes must be exactly that',
    text: GOOD.replace('mapResolvers: [172.16.4.1]', 'mapResolvers: [172.16.4, 224.0.0.1]')
      .replace('10.10.0.0/24', '10.10.0.5/24')
      .replace("'fd00:10::/64'", "'fd00:10::/129'"),
    errors: [
      ['dynamicEidPrefixes[0].prefix', /host bits set/, /10\.10\.0\.0\/24/],
      ['dynamicEidPrefixes[1].prefix', /is not a prefix/, /fd00:1::\/64/],
      ['mapResolvers[0]', /is not an address/, /172\.16\.1\.1/],
      ['mapResolvers[1]', /cannot be a Map-Resolver/, /unicast/],
    ],
  },
  {
    name: 'an underlay address is never inside an EID-prefix, and has a family we can reach',
    text: `${GOOD.replace('address: 172.16.1.1', 'address: 10.10.0.9')
      .replace('address: 172.16.4.1', 'address: 10.10.0.8')
      .replace('mapResolvers: [172.16.4.1]', "mapResolvers: ['fd00:10::8']")
      .replace(/ {2}- \{address: 'fd00:c:1::1'.*\n/, '')}  peers: ['fd00:c:2::1']\n`,
    errors: [
      ['rlocs[0].address', /inside the EID-prefix 10\.10\.0\.0\/24/, /RFC 9300 §3/],
      ['mapServers[0].address', /inside the EID-prefix/, /underlay/],
      ['mapResolvers[0]', /inside the EID-prefix fd00:10::\/64/, /RFC 9301 §8\.1/],
      ['mapResolvers[0]', /no RLOC of ours can reach an IPv6/, /add an IPv6 address to rlocs/],
      ['mobility.peers[0]', /no RLOC of ours can reach an IPv6/, /add an IPv6/],
    ],
  },
  {
    name: 'prefixes live on site interfaces of their own instance, once',
    text: `${GOOD.replace('interface: br0}\n  - {prefix', 'interface: br9}\n  - {prefix')}
eidPrefixes:
  - {prefix: 'fd00:10::/64', instanceId: 7, interface: br0}
  - {prefix: 10.30.0.0/24, instanceId: 8, interface: br0}
`,
    errors: [
      ['dynamicEidPrefixes[1].prefix', /is there twice/, /eidPrefixes\[0\]/],
      ['eidPrefixes[1].instanceId', /br0 belongs to 7/, /instanceId: 7/],
      ['dynamicEidPrefixes[0].interface', /br9 is not a site interface/, /there: br0/],
    ],
  },
  {
    name: 'roles need what they work with',
    text: `
node: a
roles: [itr, etr, map-server]
rlocs: [{address: 172.16.1.1, interface: core0}]
siteInterfaces: [{name: br0}]
dynamicEidPrefixes: [{prefix: 10.0.0.0/8, interface: br0}]
datapath: {kind: none}
`,
    errors: [
      ['mapResolvers', /role itr has to ask/, /add mapResolvers/],
      ['mapServers', /have to be registered/, /add an entry/],
      ['datapath.kind', /itr and etr forward packets/, /kind: bpf/],
      ['mapServer.sites', /role is map-server/, /name, keys and prefixes/],
    ],
  },
  {
    name: 'sites have names, prefixes, key ids and secrets of their own',
    text: `
node: ms
roles: [map-server]
rlocs: [{address: 172.16.4.1, interface: core0}]
datapath: {kind: none}
mapServer:
  sites:
    - name: one
      keys: [{secretFile: a.key}, {secretFile: b.key}]
      prefixes: [{prefix: 10.1.0.0/16}]
    - name: one
      keys: [{id: 1, secretFile: c.key}]
      prefixes: [{prefix: 10.1.0.0/16}]
    - name: two
      keys: [{id: 1, secretFile: c.key}]
      prefixes: [{prefix: 10.2.0.0/16}]
    - name: three
      keys: [{id: 2, secretFile: d.key}]
      prefixes: []
    - name: relay
      keys: [{id: 3, secretFile: e.key}]
      prefixes: []
      multicastRelay: true
`,
    errors: [
      ['mapServer.sites[3].prefixes', /is empty/, /multicastRelay/],
      ['mapServer.sites[0].keys[1].id', /0 is there twice/, /its own id/],
      ['mapServer.sites[1].name', /one is there twice/, /rename/],
      ['mapServer.sites[2].keys[0].secretFile', /the secret is that of site one/, /5\.6/],
      ['mapServer.sites[1].prefixes[0].prefix', /10\.1\.0\.0\/16 is there twice/, /remove it/],
    ],
  },
  {
    name: 'secrets must be there and say something',
    text: GOOD.replace('clouds.key', 'missing.key').replace('mobility.key', 'empty.key'),
    errors: [
      ['mapServers[0].key.secretFile', /missing\.key: cannot be read/, /relative path/],
      ['mobility.key.secretFile', /empty\.key is empty/, /openssl rand/],
    ],
  },
  {
    name: 'the window of copies reaches back further than the guard',
    text: `${GOOD.replace('mobility:', 'mobility:\n  live: {guardMs: 200}')}hold: {windowMs: 200}\n`,
    errors: [['hold.windowMs', /not above mobility\.live\.guardMs/, /more than 200/]],
  },
  {
    name: 'holding outlasts a move, and the API stays at home without TLS',
    text: `${GOOD}hold: {endpointMs: 2000}\napi: {tcp: {address: 0.0.0.0}}\n`,
    errors: [
      ['hold.endpointMs', /not above mobility\.endpointTimeoutMs/, /more than 2000/],
      ['api.tcp.address', /not loopback and there is no tls/, /127\.0\.0\.1/],
    ],
  },
  {
    name: 'a mistake in a section does not hide those elsewhere, nor cause others',
    text: GOOD.replace('{name: br0, instanceId: 7}', '{nmae: br0, instanceId: 7}').replace(
      '10.10.0.0/24',
      '10.10.0.1/24',
    ),
    errors: [
      ['siteInterfaces[0].nmae', /unknown key/, /did you mean name\?/],
      ['siteInterfaces[0].name', /missing/, /bridge/],
      ['dynamicEidPrefixes[0].prefix', /host bits/, /10\.10\.0\.0\/24/],
    ],
  },
]

const CLOSED = 'closedNetwork: {echoNonce: true, statusBits: true, mapVersions: true}\n'

t.test(
  'what only closed networks allow needs both roles, probes, and is warned of in public',
  async (t) => {
    const read = (text: string) => parseConfig(text, readSecret)
    const pathsOf = (text: string): string[] => {
      const result = read(text)
      return result.ok
        ? result.warnings.map((one) => one.path)
        : result.errors.map((one) => one.path)
    }
    const good = read(`${GOOD}${CLOSED}`)
    t.ok(good.ok && good.nodeConfig.closedNetwork?.echoNonce, 'private addresses, no complaint')
    t.same(pathsOf(`${GOOD}${CLOSED}`), [])
    t.same(pathsOf(`${GOOD}${CLOSED}`.replace('[itr, etr]', '[itr]')).slice(0, 3), [
      'closedNetwork.echoNonce',
      'closedNetwork.statusBits',
      'closedNetwork.mapVersions',
    ])
    t.same(pathsOf(`${GOOD}closedNetwork: {statusBits: true}\n`), ['closedNetwork.statusBits'])
    t.same(pathsOf(`${GOOD}closedNetwork: {echoNonce: true}\nrlocProbe: {enabled: false}\n`), [
      'closedNetwork.echoNonce',
    ])
    for (const key of ['checkSources', 'glean'])
      t.same(
        pathsOf(`${GOOD}closedNetwork: {${key}: true}\n`),
        [`closedNetwork.${key}`],
        'mobility.peers',
      )
    const open = `${GOOD}${CLOSED}`.replace('address: 172.16.1.1,', 'address: 8.8.1.1,')
    t.same(pathsOf(open), ['rlocs[0].address'], 'a public RLOC')
  },
)

t.test('peers that speak RFC 9305 are named one by one', async (t) => {
  const warningsOf = (peers: string): string[] => {
    const result = parseConfig(`${GOOD}datapath: {gpePeers: [${peers}]}\n`, readSecret)
    return result.ok ? result.warnings.map(({ path }) => path) : ['refused']
  }
  t.same(warningsOf('172.16.2.1/32, 172.16.3.0/24'), [])
  t.same(warningsOf('0.0.0.0/0'), ['datapath.gpePeers[0]'], 'nobody knows that of everybody')
  t.same(warningsOf("172.16.2.1/32, '::/0'"), ['datapath.gpePeers[1]'])
})

for (const { name, text, errors } of BAD) {
  t.test(name, async (t) => {
    const result = parseConfig(text, readSecret)
    if (result.ok) return t.fail('must be refused')
    t.equal(result.errors.length, errors.length, JSON.stringify(result.errors, null, 1))
    for (const [path, problem, hint] of errors) {
      const found = result.errors.find(
        (error) => error.path === path && problem.test(error.problem) && hint.test(error.hint),
      )
      t.ok(found, `${path}: ${problem} / ${hint}`, { errors: result.errors })
    }
  })
}

t.test('text that is no map of keys is refused with one clear error', async (t) => {
  const problemOf = (text: string): string => {
    const result = parseConfig(text, readSecret)
    return result.ok ? 'ok' : result.errors.map(({ problem }) => problem).join('; ')
  }
  t.match(problemOf(''), /is not a map of keys/)
  t.match(problemOf('- a\n'), /is not a map of keys/)
  t.match(problemOf('node: [a\n'), /is not valid YAML/)
  t.match(problemOf(`${GOOD}node: again\n`), /is not valid YAML: Map keys must be unique/)
  const bomb = `a: &a [${'x,'.repeat(9)}x]\n${[...'bcdefgh'].map((key, at) => `${key}: &${key} [${`*${'abcdefg'[at]},`.repeat(9)}*${'abcdefg'[at]}]`).join('\n')}\n`
  t.match(problemOf(bomb), /alias/i, 'aliases do not multiply without end')
})

t.test('errors carry lines and print as one block each', async (t) => {
  const result = parseConfig('node: a\nroles: [itr]\nrlocs: []\nlogg: {}\n', readSecret)
  if (result.ok) return t.fail('must be refused')
  const lineOf = (path: string): number | undefined =>
    result.errors.find((error: ConfigError) => error.path === path)?.line
  t.equal(lineOf('logg'), 4)
  t.equal(lineOf('rlocs'), 3)
  const text = formatConfigErrors('a.yaml', [
    { path: 'rlocs[0].address', problem: 'missing', hint: 'add it', line: 7 },
    { path: '', problem: 'is empty', hint: 'write something' },
  ])
  t.equal(
    text,
    `a.yaml: 2 errors

  rlocs[0].address (line 7)
    missing
    hint: add it

  (file)
    is empty
    hint: write something`,
  )
})

t.test('what works but is unwise is a warning', async (t) => {
  const warningsOf = (text: string): string[] => {
    const result = parseConfig(text, readSecret)
    if (!result.ok) t.fail(JSON.stringify(result.errors))
    return result.warnings.map(({ path }) => path)
  }
  t.same(warningsOf(GOOD.replace('clouds.key', 'open.key')), ['mapServers[0].key.secretFile'])
  const idle = 'node: r\nroles: [map-resolver]\nrlocs: [{address: 1.2.3.4, interface: e}]\n'
  t.same(warningsOf(idle), ['datapath.kind'])
  const open = `${GOOD}api: {tcp: {address: 0.0.0.0, tls: {certificateFile: a, keyFile: b}}}\n`
  t.same(warningsOf(open), ['api.tcp.tls.clientCaFile'])
})

t.test('a file is read with its secrets beside it; no message contains a secret', async (t) => {
  const directory = temporaryDirectory()
  const path = join(directory, 'node.yaml')
  writeFileSync(path, GOOD)
  writeFileSync(join(directory, 'clouds.key'), 'very-secret-1\n')
  chmodSync(join(directory, 'clouds.key'), 0o644)
  const result = loadConfig(path)
  if (result.ok) return t.fail('mobility.key is missing')
  t.same(
    result.errors.map(({ path: where, problem }) => [where, problem]),
    [['mobility.key.secretFile', 'mobility.key: cannot be read: no such file']],
  )
  t.match(result.warnings[0], { problem: /can be read by every user/, hint: /chmod 600/ })
  writeFileSync(join(directory, 'mobility.key'), 'very-secret-2', { mode: 0o600 })
  const good = loadConfig(path)
  t.equal(good.ok, true)
  t.notMatch(JSON.stringify([good.ok && good.config, good.warnings, result]), /very-secret/)
  const missing = loadConfig(join(directory, 'nothing.yaml'))
  t.match(!missing.ok && missing.errors[0], { problem: /cannot be read: no such file/ })
})

t.test('address text is parsed strictly and printed canonically', async (t) => {
  const canonical: [string, string][] = [
    ['10.1.0.5', '10.1.0.5'],
    ['FD00:0:0:1:0:0:0:1', 'fd00:0:0:1::1'],
    ['::', '::'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ]
  for (const [text, printed] of canonical) {
    const address = parseAddressText(text)
    t.equal(address && formatAddressText(address), printed)
  }
  for (const text of [
    '10.1',
    '010.1.1.1',
    '1.2.3.256',
    '10.0.0.1/8',
    'fe80::1%eth0',
    '[::1]',
    '',
  ]) {
    t.equal(parseAddressText(text), undefined, text)
  }
  const eid = parseEidText('[7]10.1.0.5', 3)
  t.equal(eid?.instanceId, 7)
  t.equal(parseEidText('10.1.0.5', 3)?.instanceId, 3)
  t.equal(parseEidText('[16777216]10.1.0.5'), undefined)
  const prefix = parseEidPrefixText('[7]10.1.0.0/16')
  t.equal(prefix && formatEidPrefixText(prefix), '[7]10.1.0.0/16')
  t.equal(parseEidPrefixText('fd00::5')?.maskLength, 128)
  for (const text of ['10.1.0.1/16', '10.1.0.0/33', '10.1.0.0/', '/8', 'fd00::/129']) {
    t.equal(parseEidPrefixText(text), undefined, text)
  }
  const covers = (outer: string, inner: string): boolean =>
    prefixCoversAddress(parseEidPrefixText(outer)!, parseAddressText(inner)!)
  t.equal(covers('10.1.128.0/17', '10.1.128.1'), true)
  t.equal(covers('10.1.128.0/17', '10.1.127.255'), false)
  t.equal(covers('0.0.0.0/0', '255.1.1.1'), true)
  t.equal(covers('::/0', '10.1.1.1'), false)
  t.equal(covers('fd00:10::/65', 'fd00:10::8000:0:0:0'), false)
  const unicast = (text: string): boolean => isUnicastAddress(parseAddressText(text)!)
  t.same(
    ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '::', '::1', 'ff02::1'].map(unicast),
    Array(7).fill(false),
  )
  t.same(['172.16.1.1', 'fd00::1'].map(unicast), [true, true])
})

t.test(
  'the compiled validator agrees with the schema library about mutilated documents',
  async (t) => {
    const result = parseConfig(GOOD, readSecret)
    if (!result.ok) return t.fail(JSON.stringify(result.errors))
    const places = placesOf(result.config)
    t.ok(places.length > 50)
    const anything = fc.oneof(
      fc.constantFrom(null, '', 'itr', 'bpf', 0, -1, 1.5, 256, 1e9, true, [], {}, ['itr', 'itr']),
      fc.string({ maxLength: 3 }),
    )
    const change = fc.record({
      place: fc.constantFrom(...places),
      how: fc.constantFrom('replace', 'delete', 'add'),
      value: anything,
    })
    let [valid, invalid] = [0, 0]
    fc.assert(
      fc.property(fc.array(change, { maxLength: 2 }), (changes) => {
        const document = structuredClone(result.config)
        for (const one of changes) mutilate(document, one)
        // Fills in what was deleted and has a default; what it left must be judged alike.
        const found = validateConfig(document)
        const expected = Value.Check(ConfigSchema, document)
        if (expected) valid += 1
        else invalid += 1
        return found === expected
      }),
      { numRuns: 500, seed: 1 },
    )
    t.ok(valid > 50 && invalid > 200, `${valid} valid, ${invalid} invalid`)
  },
)

type Keys = readonly (string | number)[]

/** The keys that lead to every value inside. */
function placesOf(value: unknown, keys: Keys = []): Keys[] {
  if (typeof value !== 'object' || value === null) return [keys]
  const inner = Object.entries(value).flatMap(([key, one]) => placesOf(one, [...keys, key]))
  return keys.length === 0 ? inner : [keys, ...inner]
}

function mutilate(document: unknown, change: { place: Keys; how: string; value: unknown }): void {
  let parent = document
  for (const key of change.place.slice(0, -1)) {
    if (typeof parent !== 'object' || parent === null) return
    parent = Reflect.get(parent, key)
  }
  if (typeof parent !== 'object' || parent === null) return
  const key = change.place.at(-1)!
  if (change.how === 'delete' && !Array.isArray(parent)) Reflect.deleteProperty(parent, key)
  else if (change.how === 'add' && !Array.isArray(parent)) Reflect.set(parent, 'extra', 1)
  else Reflect.set(parent, key, change.value)
}
