/**
 * What an operator or the API asks of a node, and how it is answered.
 *
 * Commands are not authenticated here: whoever may speak to the API may give them.
 */
import type { Eid, EidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'

/** Whether the source redirects at once, or copies while the endpoint still runs there. */
export type MoveMode = 'switch' | 'live'

/** What an operator or the API asks of a node. Each gets exactly one `result`. */
export type Command =
  | { readonly kind: 'clear-map-cache'; readonly eidPrefix: EidPrefix | undefined }
  | {
      readonly kind: 'start-move'
      readonly eids: readonly Eid[]
      readonly source: Rloc | undefined
      /**
       * switch (default): the source redirects at once, because the link is switched on "ready".
       * live: the endpoint runs on at the source, which sends copies of what it delivers, until it
       * is told that the endpoint has stopped.
       */
      readonly mode?: MoveMode
    }
  | { readonly kind: 'cancel-move'; readonly moveId: string }
  /**
   * At the source: the endpoint stopped running here so long ago (0-60,000 ms). `gone`: its
   * hypervisor says that it will not run here again. Answered with the names of the moves concerned.
   */
  | {
      readonly kind: 'endpoint-stopped'
      readonly eids: readonly Eid[]
      readonly agoMs: number
      readonly gone?: boolean
    }
  /** At the destination: proof that the endpoint runs here, as good as its first frame. */
  | { readonly kind: 'endpoint-running'; readonly eids: readonly Eid[] }
  /**
   * At the source: the endpoint runs here again since `agoMs` (its state was asked for), the move has
   * failed. What is older than its latest stop is history.
   */
  | {
      readonly kind: 'endpoint-resumed'
      readonly eids: readonly Eid[]
      readonly agoMs?: number
    }
  | { readonly kind: 'add-eid'; readonly eidPrefix: EidPrefix; readonly interfaceName: string }
  | { readonly kind: 'remove-eid'; readonly eidPrefix: EidPrefix }
  /** `lig`: ask the mapping system, touch no table. */
  | { readonly kind: 'query-mapping'; readonly eid: Eid }
  /** The shell is about to stop; `withdraw` takes our registrations back (TTL 0). */
  | {
      readonly kind: 'shutdown'
      readonly withdraw: boolean
      /** Stays registered, with everything inside: what the next configuration still has. */
      readonly keeping?: readonly EidPrefix[]
      /** Groups of these instance-IDs stay joined likewise. */
      readonly keepingGroupsOf?: readonly number[]
    }

export type CommandResult =
  | { readonly ok: true; readonly value: unknown }
  | {
      readonly ok: false
      /** HTTP status that fits: 400, 404, 409, 503, 504. */
      readonly status: number
      /** Kebab-case, stable. */
      readonly code: string
      readonly message: string
    }
