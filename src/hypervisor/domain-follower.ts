/**
 * What one hypervisor's events mean for the moves of one domain: events in, actions out. Pure.
 *
 * No event of libvirt is reliable alone: hooks tell of the beginning and never of the switchover,
 * lifecycle events come late or get lost. So each event may be lost, late, doubled or overtaken, and
 * whatever is not urgent asks for the domain's present state first (`query`, answered as `state`).
 * Only the source's stop is acted on at once: it costs nothing if the migration then fails.
 */

/** Where this hypervisor believes the domain is in its life here. */
export type DomainPhase = 'unknown' | 'absent' | 'incoming' | 'running' | 'stopped'

export type DomainState = 'running' | 'paused' | 'migrating' | 'absent'

export type DomainInput =
  /** A hook of libvirt: operation and sub-operation, as `migrate begin`. */
  | { readonly kind: 'hook'; readonly operation: string; readonly subOperation: string }
  /** Event and detail, as `Suspended` and `Migrated`; `agoMs` since it happened. */
  | {
      readonly kind: 'lifecycle'
      readonly event: string
      readonly detail: string
      readonly agoMs: number
    }
  /** The answer to a query, or one of the regular polls. */
  | { readonly kind: 'state'; readonly state: DomainState }
  /** Its MAC appeared on a local port: an incoming migration is complete. */
  | { readonly kind: 'mac-seen' }

export type DomainAction =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'stopped'; readonly agoMs: number; readonly gone: boolean }
  | { readonly kind: 'running' }
  | { readonly kind: 'resumed' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'query' }

export interface DomainStep {
  readonly phase: DomainPhase
  readonly actions: readonly DomainAction[]
}

/** The next phase and what to do; unknown events change nothing. */
export function followDomain(phase: DomainPhase, input: DomainInput): DomainStep {
  switch (input.kind) {
    case 'hook':
      return afterHook(phase, `${input.operation} ${input.subOperation}`)
    case 'lifecycle':
      return afterLifecycle(phase, input)
    case 'state':
      return afterState(phase, input.state)
    case 'mac-seen':
      // QEMU announces a guest only when its migration is complete, even a paused one.
      return phase === 'incoming' ? arrived(phase) : same(phase)
  }
}

function afterHook(phase: DomainPhase, hook: string): DomainStep {
  switch (hook) {
    case 'migrate begin':
      // An attempt that stands already is rolled back first by whoever prepares.
      return { phase: 'incoming', actions: [{ kind: 'prepare' }] }
    case 'stopped end':
    case 'release end':
      // Late by seconds at the source, and at the destination the only sign of an abort.
      return phase === 'absent' ? same(phase) : { phase, actions: [{ kind: 'query' }] }
    default:
      // "prepare", "start" and "started" say nothing about where the guest runs.
      return same(phase)
  }
}

function afterLifecycle(
  phase: DomainPhase,
  { event, detail, agoMs }: Extract<DomainInput, { kind: 'lifecycle' }>,
): DomainStep {
  switch (`${event} ${detail}`) {
    case 'Suspended Migrated':
      if (phase === 'incoming') return same(phase)
      return { phase: 'stopped', actions: [{ kind: 'stopped', agoMs, gone: false }] }
    case 'Stopped Migrated':
      return phase === 'incoming' ? same(phase) : gone(agoMs)
    case 'Resumed Migrated':
      // At the destination it says that the guest runs; at the source that a migration failed.
      if (phase === 'stopped') return { phase, actions: [{ kind: 'query' }] }
      return arrived(phase)
  }
  if (event === 'Resumed' && phase === 'stopped') return { phase, actions: [{ kind: 'query' }] }
  if (event === 'Resumed' && phase === 'incoming') return arrived(phase)
  // The end of a migration of a paused machine.
  if (event === 'Suspended' && phase === 'incoming') return { phase, actions: [{ kind: 'query' }] }
  if (event === 'Stopped' || event === 'Undefined') return { phase, actions: [{ kind: 'query' }] }
  // Silent hosts are looked for: the node asks its segment for an endpoint that it does not know.
  if (event === 'Started' && detail === 'Booted') return arrived(phase)
  return same(phase)
}

function afterState(phase: DomainPhase, state: DomainState): DomainStep {
  switch (state) {
    case 'running':
      if (phase === 'incoming' || phase === 'unknown') return arrived(phase)
      if (phase === 'stopped') return { phase: 'running', actions: [{ kind: 'resumed' }] }
      return { phase: 'running', actions: [] }
    case 'paused':
      // Migrated while paused: it lives here now, and packets wait in its tap as at home.
      return phase === 'incoming' ? arrived(phase) : same(phase)
    case 'migrating':
      return same(phase)
    case 'absent':
      if (phase === 'incoming') return { phase: 'absent', actions: [{ kind: 'cancel' }] }
      if (phase === 'stopped') return gone(0)
      return { phase: 'absent', actions: [] }
  }
}

function arrived(phase: DomainPhase): DomainStep {
  return { phase: 'running', actions: phase === 'running' ? [] : [{ kind: 'running' }] }
}

function gone(agoMs: number): DomainStep {
  return { phase: 'absent', actions: [{ kind: 'stopped', agoMs, gone: true }] }
}

function same(phase: DomainPhase): DomainStep {
  return { phase, actions: [] }
}
