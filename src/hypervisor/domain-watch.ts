/**
 * The domains of one hypervisor: which EIDs each has, and one queue of actions per domain, carried
 * out in order against the node.
 *
 * Where a domain's EIDs come from, first that knows: its description, the agent's configuration,
 * what the datapath has seen of its MAC addresses. Nothing thrown here reaches libvirt.
 */
import { formatEid, MAXIMUM_ENDPOINT_EIDS } from '../lisp/eid.js'
import { readWorkload } from '../workload/workload-description.js'
import {
  type DomainAction,
  type DomainInput,
  type DomainPhase,
  type DomainState,
  followDomain,
} from './domain-follower.js'
import { type NodeClient, refusalIn } from './node-client.js'

export interface DomainWatchParts {
  readonly node: NodeClient
  /** The present state and XML of a domain; `absent` and rejection when there is none. */
  readonly state: (domain: string) => Promise<DomainState>
  readonly description: (domain: string) => Promise<string>
  /** Domain name or UUID → EIDs, for descriptions without any. */
  readonly configured: ReadonlyMap<string, readonly string[]>
  readonly mode: 'live' | 'switch'
  /** Makes room for held packets in a tap; its failure harms nothing but that. */
  readonly widenTap?: (name: string) => Promise<void>
  readonly log: (level: 'info' | 'warn', message: string, fields: object) => void
}

export interface DomainWatch {
  /** `description` is what a hook brought; an event brings none. */
  tell(domain: string, input: DomainInput, description?: string): void
  /** A frame of this MAC came from a local port. */
  macSeen(mac: string): void
  /** All states at once; domains that are not in it are absent. */
  polled(states: ReadonlyMap<string, DomainState>): void
  /** Resolves when every queue is empty. */
  settled(): Promise<void>
}

interface Domain {
  readonly name: string
  phase: DomainPhase
  eids: readonly string[] | undefined
  macs: readonly string[]
  taps: readonly string[]
  moveId: string | undefined
  queue: Promise<void>
  waiting: number
}

/** Follows domains until it is forgotten; keeps at most MAXIMUM_FOLLOWED of them. */
export function createDomainWatch(parts: DomainWatchParts): DomainWatch {
  const { node, log, mode } = parts
  const domains = new Map<string, Domain>()

  function domainOf(name: string): Domain | undefined {
    let domain = domains.get(name)
    if (domain === undefined) {
      if (domains.size >= MAXIMUM_FOLLOWED) {
        const old = [...domains.values()].find((one) => one.phase === 'absent' && one.waiting === 0)
        if (old === undefined) {
          log('warn', 'too many domains: one is not followed', { domain: name })
          return undefined
        }
        domains.delete(old.name)
      }
      const queue = Promise.resolve()
      domain = {
        name,
        phase: 'unknown',
        eids: undefined,
        macs: [],
        taps: [],
        moveId: undefined,
        queue,
        waiting: 0,
      }
      domains.set(name, domain)
    }
    return domain
  }

  /** In order within a domain; domains do not wait for each other. */
  function enqueue(domain: Domain, job: () => Promise<void>): void {
    if (domain.waiting >= MAXIMUM_WAITING) {
      log('warn', 'too many events of one domain: one is dropped', { domain: domain.name })
      return
    }
    domain.waiting++
    domain.queue = domain.queue
      .then(job)
      .catch((cause: Error) =>
        log('warn', 'the node was not told', { domain: domain.name, reason: cause.message }),
      )
      .finally(() => {
        domain.waiting--
      })
  }

  function step(domain: Domain, input: DomainInput): void {
    const { phase, actions } = followDomain(domain.phase, input)
    if (phase !== domain.phase || actions.length > 0) {
      const did = actions.map(({ kind }) => kind).join(', ')
      log('info', 'domain', { domain: domain.name, from: domain.phase, to: phase, input, did })
    }
    domain.phase = phase
    for (const action of actions) {
      const since = performance.now()
      enqueue(domain, () => perform(domain, action, since))
    }
  }

  async function perform(domain: Domain, action: DomainAction, since: number): Promise<void> {
    if (action.kind === 'query') {
      step(domain, { kind: 'state', state: await parts.state(domain.name) })
      return
    }
    const eids = await eidsOf(domain)
    if (eids.length === 0) return
    switch (action.kind) {
      case 'prepare':
        return prepare(domain, eids)
      case 'cancel':
        if (domain.moveId !== undefined) await node.delete(`/v1/moves/${domain.moveId}`)
        domain.moveId = undefined
        return
      case 'stopped': {
        const agoMs = Math.min(action.agoMs + performance.now() - since, 60_000)
        const saidAtMs = Number(process.hrtime.bigint()) / 1e6
        return say(domain, { event: 'stopped', eids, agoMs, saidAtMs, gone: action.gone })
      }
      case 'running':
        return say(domain, { event: 'running', eids })
      case 'resumed': {
        const agoMs = Math.min(performance.now() - since, 60_000)
        return say(domain, { event: 'resumed', eids, agoMs })
      }
    }
  }

  async function prepare(domain: Domain, eids: readonly string[]): Promise<void> {
    if (domain.moveId !== undefined) await node.delete(`/v1/moves/${domain.moveId}`)
    domain.moveId = undefined
    const answer = await node.post('/v1/moves', { eids, mode })
    const moveId = (answer.body as { moveId?: string } | undefined)?.moveId
    if (answer.status < 300 && moveId !== undefined) {
      domain.moveId = moveId
      log('info', 'prepared', { domain: domain.name, moveId })
      return
    }
    // The migration goes on: it will be a detected move, with what that costs.
    log('warn', 'not prepared', { domain: domain.name, eids, reason: refusalIn(answer) })
  }

  async function say(domain: Domain, body: object): Promise<void> {
    const answer = await node.post('/v1/endpoints/events', body)
    if (answer.status < 300) return
    log('warn', 'the node refused an event', {
      domain: domain.name,
      body,
      reason: refusalIn(answer),
    })
  }

  async function eidsOf(domain: Domain): Promise<readonly string[]> {
    if (domain.eids === undefined) {
      try {
        describe(domain, await parts.description(domain.name))
      } catch {
        // Gone already: what is configured is all there is to know.
      }
    }
    domain.eids ??= parts.configured.get(domain.name)
    if (domain.eids !== undefined) return domain.eids
    return domain.macs.length === 0 ? [] : seenEids(domain.macs)
  }

  function describe(domain: Domain, description: string): void {
    const result = readWorkload(description)
    if (!result.ok) {
      log('warn', 'its description names no EIDs that can be used', {
        domain: domain.name,
        reason: result.problem,
      })
      return
    }
    const { eids, macs, taps, uuid } = result.workload
    domain.macs = macs
    domain.taps = taps
    const configured = uuid === undefined ? undefined : parts.configured.get(uuid)
    // Of the latest description only: a domain may be defined anew under its old name.
    domain.eids = eids.length > 0 ? eids.map(formatEid) : configured
  }

  async function seenEids(macs: readonly string[]): Promise<readonly string[]> {
    const { body } = await node.get('/v1/mapping-database?limit=1000')
    const lists = Object.values((body ?? {}) as Record<string, unknown>).filter(Array.isArray)
    const entries = (lists[0] ?? []) as { eidPrefix?: string; mac?: string }[]
    return entries
      .filter(({ mac }) => mac !== undefined && macs.includes(mac.toLowerCase()))
      .flatMap(({ eidPrefix }) => eidPrefix?.replace(/\/\d+$/, '') ?? [])
      .slice(0, MAXIMUM_ENDPOINT_EIDS)
  }

  return {
    tell(name, input, description) {
      const domain = domainOf(name)
      if (domain === undefined) return
      if (description !== undefined && description !== '') describe(domain, description)
      step(domain, input)
      // The tap is there now, and the guest does not run yet.
      if (input.kind === 'hook' && input.operation === 'started' && domain.phase === 'incoming')
        for (const tap of domain.taps) enqueue(domain, async () => parts.widenTap?.(tap))
    },
    macSeen(mac) {
      for (const domain of domains.values()) {
        if (domain.phase === 'incoming' && domain.macs.includes(mac)) {
          step(domain, { kind: 'mac-seen' })
        }
      }
    },
    polled(states) {
      for (const [name, state] of states) {
        const domain = domainOf(name)
        if (domain !== undefined) step(domain, { kind: 'state', state })
      }
      for (const domain of domains.values()) {
        // An incoming domain may not be listed yet; its hooks say when it is given up.
        if (states.has(domain.name) || domain.phase === 'incoming') continue
        if (domain.phase !== 'absent') step(domain, { kind: 'state', state: 'absent' })
      }
    },
    async settled() {
      const busy = (): Domain[] => [...domains.values()].filter(({ waiting }) => waiting > 0)
      while (busy().length > 0) await Promise.all(busy().map(({ queue }) => queue))
    },
  }
}

const MAXIMUM_FOLLOWED = 10_000
/** Events of one domain that wait for the node: it answers in milliseconds. */
const MAXIMUM_WAITING = 64
