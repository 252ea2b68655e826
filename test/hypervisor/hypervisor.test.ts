/** The agent's parts: what events mean, what the node is told, what the hook does with nobody there. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  type DomainInput,
  type DomainPhase,
  followDomain,
} from '../../src/hypervisor/domain-follower.js'
import { createDomainWatch } from '../../src/hypervisor/domain-watch.js'
import { type HookCall, openHookInbox } from '../../src/hypervisor/hook-inbox.js'
import { installHook, MAXIMUM_SPOOLED, removeHook } from '../../src/hypervisor/hook-script.js'
import { parseEventLine, parseStates } from '../../src/hypervisor/libvirt.js'
import type { NodeAnswer } from '../../src/hypervisor/node-client.js'

const hook = (operation: string, subOperation: string): DomainInput => ({
  kind: 'hook',
  operation,
  subOperation,
})
const lifecycle = (event: string, detail: string): DomainInput => ({
  kind: 'lifecycle',
  event,
  detail,
  agoMs: 2,
})

/** All actions that a sequence of inputs leads to, and the last phase. */
function follow(
  phase: DomainPhase,
  ...inputs: DomainInput[]
): { phase: string; actions: string[] } {
  const actions: string[] = []
  let now = phase
  for (const input of inputs) {
    const step = followDomain(now, input)
    now = step.phase
    for (const action of step.actions) {
      actions.push(action.kind === 'stopped' && action.gone ? 'gone' : action.kind)
    }
  }
  return { phase: now, actions }
}

const DESTINATION = [hook('migrate', 'begin'), hook('prepare', 'begin'), hook('start', 'begin'), hook('started', 'begin')] // biome-ignore format: in order

t.test(
  'the destination prepares at the hook and confirms at whichever evidence comes first',
  async (t) => {
    for (const evidence of [
      lifecycle('Resumed', 'Migrated'),
      { kind: 'mac-seen' } as const,
      { kind: 'state', state: 'running' } as const,
    ]) {
      const expected = { phase: 'running', actions: ['prepare', 'running'] }
      t.same(follow('unknown', ...DESTINATION, evidence), expected)
      // Said twice, it is old news.
      t.same(follow('unknown', ...DESTINATION, evidence, evidence), expected)
    }
  },
)

t.test('started is never evidence, nor is a state of migrating', async (t) => {
  t.same(follow('absent', ...DESTINATION, { kind: 'state', state: 'migrating' }), {
    phase: 'incoming',
    actions: ['prepare'],
  })
})

t.test('an abort at the destination is asked about, then rolled back', async (t) => {
  const ended = follow('absent', ...DESTINATION, hook('stopped', 'end'))
  t.same(ended, { phase: 'incoming', actions: ['prepare', 'query'] })
  t.same(follow('incoming', { kind: 'state', state: 'absent' }), {
    phase: 'absent',
    actions: ['cancel'],
  })
  // The same hook, late: the domain runs here after all.
  t.same(follow('incoming', { kind: 'state', state: 'running' }).actions, ['running'])
})

t.test('the source says stopped at once, and gone when libvirt does', async (t) => {
  t.same(follow('running', lifecycle('Suspended', 'Migrated')), {
    phase: 'stopped',
    actions: ['stopped'],
  })
  t.same(follow('stopped', lifecycle('Stopped', 'Migrated')), {
    phase: 'absent',
    actions: ['gone'],
  })
  t.same(follow('stopped', hook('stopped', 'end'), { kind: 'state', state: 'absent' }).actions, [
    'query',
    'gone',
  ])
  t.same(follow('running', lifecycle('Suspended', 'Paused')), { phase: 'running', actions: [] })
})

t.test(
  'a migration that fails after the stop is resumed only when the state says so',
  async (t) => {
    t.same(follow('stopped', lifecycle('Resumed', 'Migrated')), {
      phase: 'stopped',
      actions: ['query'],
    })
    t.same(follow('stopped', { kind: 'state', state: 'running' }), {
      phase: 'running',
      actions: ['resumed'],
    })
    t.same(follow('stopped', { kind: 'state', state: 'migrating' }), {
      phase: 'stopped',
      actions: [],
    })
  },
)

t.test('a guest that is migrated while paused lives where it is paused', async (t) => {
  t.same(follow('incoming', { kind: 'state', state: 'paused' }), {
    phase: 'running',
    actions: ['running'],
  })
})

t.test('a poll makes up for every event that was lost', async (t) => {
  t.same(follow('unknown', { kind: 'state', state: 'running' }).actions, ['running'])
  t.same(follow('running', { kind: 'state', state: 'absent' }), { phase: 'absent', actions: [] })
})

t.test(
  'lines of virsh are read in the spellings of its versions, and others are not',
  async (t) => {
    const now = Date.parse('2026-01-01T00:00:00.200Z')
    const line =
      "2026-01-01 00:00:00.123+0000: event 'lifecycle' for domain 'vm1': Suspended Migrated"
    t.same(parseEventLine(line, now), {
      domain: 'vm1',
      event: 'Suspended',
      detail: 'Migrated',
      agoMs: 77,
    })
    const older = "event 'lifecycle' for domain vm1: Resumed Unpaused"
    t.same(parseEventLine(older, now), {
      domain: 'vm1',
      event: 'Resumed',
      detail: 'Unpaused',
      agoMs: 0,
    })
    // A clock that is ahead makes nothing happen in the future.
    t.equal(parseEventLine(line, now - 5_000)?.agoMs, 0)
    t.equal(parseEventLine("event 'job-completed' for domain 'vm1':", now), undefined)
    t.equal(parseEventLine('', now), undefined)
    const states = parseStates(
      "Domain: 'a'\n  state.state=1\n  state.reason=1\n\nDomain: 'b'\n  state.state=3\n  state.reason=2\n\n" +
        "Domain: 'c'\n  state.state=3\n  state.reason=1\n\nDomain: 'd'\n  state.state=5\n  state.reason=3\n",
    )
    t.same([...states], [['a', 'running'], ['b', 'migrating'], ['c', 'paused'], ['d', 'absent']]) // biome-ignore format: pairs
  },
)

const XML = `<domain type='kvm'><name>vm1</name><metadata><g:eids xmlns:g='urn:godwit:domain:1'
  instanceId='7'><g:eid>10.10.0.5</g:eid><g:eid>fd00:10::5</g:eid></g:eids></metadata>
  <devices><interface><mac address='52:54:00:00:00:05'/></interface></devices></domain>`

function watchWith(answer: (method: string, path: string, body: unknown) => NodeAnswer) {
  const calls: [string, unknown][] = []
  const words: string[] = []
  let state: 'running' | 'absent' = 'running'
  const reply = async (method: string, path: string, body?: unknown): Promise<NodeAnswer> => {
    // Slower than the events come: order must not depend on it.
    await new Promise((resolve) => setImmediate(resolve))
    calls.push([`${method} ${path}`, body])
    return answer(method, path, body)
  }
  const watch = createDomainWatch({
    node: {
      post: (path, body) => reply('POST', path, body),
      delete: (path) => reply('DELETE', path),
      get: (path) => reply('GET', path),
    },
    state: async () => state,
    description: async () => XML,
    configured: new Map([['quiet', ['[7]10.10.0.9']]]),
    mode: 'live',
    log: (_level, message, fields) => words.push(`${message} ${JSON.stringify(fields)}`),
  })
  const become = (now: 'running' | 'absent'): void => {
    state = now
  }
  return { watch, calls, words, become }
}

const accepts = (): NodeAnswer => ({ status: 201, body: { moveId: 'm1' } })

t.test('the node hears prepare, running and cancel of the right EIDs, in order', async (t) => {
  const { watch, calls } = watchWith(accepts)
  watch.tell('vm1', hook('migrate', 'begin'), XML)
  watch.tell('vm1', lifecycle('Resumed', 'Migrated'))
  await watch.settled()
  const eids = ['[7]10.10.0.5', '[7]fd00:10::5']
  t.same(calls, [
    ['POST /v1/moves', { eids, mode: 'live' }],
    ['POST /v1/endpoints/events', { event: 'running', eids }],
  ])
})

t.test(
  'the taps of an incoming domain are widened before it runs, by names that are names',
  async (t) => {
    const widened: string[] = []
    const watch = createDomainWatch({
      node: {
        post: async () => accepts(),
        delete: async () => accepts(),
        get: async () => accepts(),
      },
      state: async () => 'running',
      description: async () => XML,
      configured: new Map(),
      mode: 'live',
      widenTap: async (name) => {
        widened.push(name)
      },
      log() {},
    })
    const targets = ['vnet3', 'a b', '-x', '$(id)', 'longer-than-fifteen']
      .map((name) => `<interface><target dev='${name}'/></interface>`)
      .join('')
    const xml = XML.replace('</devices>', `${targets}</devices>`)
    watch.tell('vm1', hook('started', 'begin'), xml)
    await watch.settled()
    t.same(widened, [], 'not of a domain that merely starts')
    watch.tell('vm1', hook('migrate', 'begin'), xml)
    watch.tell('vm1', hook('started', 'begin'), xml)
    await watch.settled()
    t.same(widened, ['vnet3'])
  },
)

t.test('an aborted migration deletes the move that was prepared', async (t) => {
  const { watch, calls, become } = watchWith(accepts)
  become('absent')
  watch.tell('vm1', hook('migrate', 'begin'), XML)
  watch.tell('vm1', hook('stopped', 'end'), XML)
  await watch.settled()
  t.same(
    calls.map(([what]) => what),
    ['POST /v1/moves', 'DELETE /v1/moves/m1'],
  )
})

t.test(
  'the source tells when the guest stopped, also when it must first ask for the EIDs',
  async (t) => {
    const { watch, calls } = watchWith(accepts)
    watch.polled(new Map([['vm1', 'running']]))
    await watch.settled()
    calls.length = 0
    watch.tell('vm1', lifecycle('Suspended', 'Migrated'))
    await watch.settled()
    t.equal(calls[0]?.[0], 'POST /v1/endpoints/events')
    const body = calls[0]?.[1] as { event: string; agoMs: number; gone: boolean; eids: string[] }
    t.match(body, { event: 'stopped', gone: false, eids: ['[7]10.10.0.5', '[7]fd00:10::5'] })
    t.ok(body.agoMs >= 2)
  },
)

t.test('a refusal is one clear line, and the migration goes on', async (t) => {
  const refused = { status: 409, body: { error: { code: 'x', message: 'outside our prefixes' } } }
  const { watch, calls, words } = watchWith((_method, path) =>
    path === '/v1/moves' ? refused : accepts(),
  )
  watch.tell('vm1', hook('migrate', 'begin'), XML)
  watch.tell('vm1', { kind: 'state', state: 'running' })
  await watch.settled()
  t.equal(words.filter((word) => word.includes('outside our prefixes')).length, 1)
  t.same(
    calls.map(([what]) => what),
    ['POST /v1/moves', 'POST /v1/endpoints/events'],
  )
})

t.test(
  'a hostile description is one line, and configured EIDs serve without metadata',
  async (t) => {
    const { watch, calls, words } = watchWith(accepts)
    watch.tell('quiet', hook('migrate', 'begin'), `<!DOCTYPE x [<!ENTITY a "b">]>${XML}`)
    t.equal(words.filter((word) => word.includes('document type')).length, 1)
    const bare = createDomainWatch({
    node: { post: async (path, body) => { calls.push([path, body]); return accepts() }, delete: async () => accepts(), get: async () => accepts() },
    state: async () => 'running',
    description: async () => { throw new Error('no domain') },
    configured: new Map([['quiet', ['[7]10.10.0.9']]]),
    mode: 'switch',
    log() {},
  }) // biome-ignore format: one node in one line
    calls.length = 0
    bare.tell('quiet', hook('migrate', 'begin'), '<domain><name>quiet</name></domain>')
    await bare.settled()
    t.same(calls, [['/v1/moves', { eids: ['[7]10.10.0.9'], mode: 'switch' }]])
  },
)

t.test('without metadata and configuration the datapath is asked by MAC address', async (t) => {
  const calls: unknown[] = []
  const watch = createDomainWatch({
    node: {
      post: async (_path, body) => {
        calls.push(body)
        return accepts()
      },
      delete: async () => accepts(),
      get: async () => ({
        status: 200,
        body: {
          mappings: [
            { eidPrefix: '[7]10.10.0.5/32', mac: '52:54:00:00:00:05' },
            { eidPrefix: '[7]10.10.0.6/32', mac: '52:54:00:00:00:06' },
          ],
        },
      }),
    },
    state: async () => 'running',
    description: async () => XML.replace(/<metadata>.*<\/metadata>/s, ''),
    configured: new Map(),
    mode: 'live',
    log() {},
  })
  watch.tell('vm1', lifecycle('Suspended', 'Migrated'))
  await watch.settled()
  t.match(calls, [{ event: 'stopped', eids: ['[7]10.10.0.5'] }])
})

t.test(
  'the hook leaves its message, says nothing and succeeds, with and without an agent',
  async (t) => {
    const home = mkdtempSync(join(tmpdir(), 'godwit-hook-'))
    t.teardown(() => rmSync(home, { recursive: true, force: true }))
    const file = join(home, 'hooks', 'qemu')
    const runtimeDirectory = join(home, 'run')
    t.equal(installHook({ file, runtimeDirectory }), 'installed')
    t.equal(installHook({ file, runtimeDirectory }), 'unchanged')
    t.equal(statSync(file).mode & 0o777, 0o755)
    const call = (...args: string[]) =>
      spawnSync(file, args, { input: XML, encoding: 'utf8', timeout: 10_000 })

    const alone = call('vm1', 'migrate', 'begin', '-')
    t.equal(alone.status, 0)
    t.equal(alone.stdout + alone.stderr, '')
    t.match(readFileSync(join(runtimeDirectory, 'hook.log'), 'utf8'), /vm1 migrate begin: no agent/)

    // The agent starts late, and hears it all the same; then it hears at once.
    const heard: HookCall[] = []
    const inbox = await openHookInbox(runtimeDirectory, (one) => heard.push(one))
    t.teardown(() => inbox.close())
    t.match(heard, [
      { domain: 'vm1', operation: 'migrate', subOperation: 'begin', description: XML },
    ])
    const { spawn } = await import('node:child_process')
    const child = spawn(file, ['vm2', 'stopped', 'end', '-'])
    child.stdin.end(XML)
    await new Promise((resolve) => child.on('close', resolve))
    inbox.look()
    t.match(heard[1], { domain: 'vm2', operation: 'stopped', subOperation: 'end' })
    t.same(readdirSync(join(runtimeDirectory, 'spool')), [])
  },
)

t.test('a hook that calls while the agent ends wakes nobody', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-inbox-'))
  const inbox = await openHookInbox(directory, () => t.fail('nobody listens any more'))
  inbox.close()
  rmSync(directory, { recursive: true, force: true })
  t.doesNotThrow(() => inbox.look())
})

t.test('the spool is bounded, and a directory that is gone harms nobody', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'godwit-hook-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const file = join(home, 'qemu')
  installHook({ file, runtimeDirectory: home })
  for (let index = 0; index < MAXIMUM_SPOOLED; index++) {
    writeFileSync(join(home, 'spool', `1-${index}`), '')
  }
  const call = () => spawnSync(file, ['vm', 'start', 'begin'], { input: XML, encoding: 'utf8' })
  t.equal(call().status, 0)
  t.equal(readdirSync(join(home, 'spool')).length, MAXIMUM_SPOOLED)
  rmSync(join(home, 'spool'), { recursive: true })
  const after = call()
  t.same([after.status, after.stdout], [0, ''])
})

t.test('a hook of somebody else is left alone', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'godwit-hook-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const file = join(home, 'qemu')
  writeFileSync(file, '#!/bin/sh\nexit 0\n')
  t.equal(installHook({ file, runtimeDirectory: home }), 'foreign')
  t.equal(removeHook(file), false)
  t.equal(installHook({ file, runtimeDirectory: home, force: true }), 'installed')
  t.equal(readFileSync(`${file}.before-godwit`, 'utf8'), '#!/bin/sh\nexit 0\n')
  t.equal(removeHook(file), true)
})
