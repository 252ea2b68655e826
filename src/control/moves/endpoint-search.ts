/**
 * Looking for the endpoint of a prepared move: ARP requests and neighbour solicitations for its EIDs.
 *
 * An endpoint that has nothing to say when its link is switched would be found only by chance; the
 * question makes it speak. The first goes out when the move is ready, then one per EID every 100 ms
 * until it is seen or given up by the caller. An answer can only come from our own segment: the
 * question leaves nowhere else.
 */
import type { Eid } from '../../lisp/eid.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { push } from '../outputs.js'

export interface Sought {
  readonly eid: Eid
  readonly interfaceName: string
}

export interface EndpointSearch {
  /** Asks at once; `name` is the move's. */
  begin(name: string, sought: readonly Sought[], now: Instant, outputs: Output[]): void
  end(name: string): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice: a tenth of a second more hold at most, and 10 small frames a second and EID. */
const INTERVAL_MS = 100

export function createEndpointSearch(): EndpointSearch {
  const searches = new Map<string, readonly Sought[]>()
  const deadlines = createDeadlines()

  function ask(name: string, now: Instant, outputs: Output[]): void {
    for (const { eid, interfaceName } of searches.get(name) ?? [])
      push(outputs, { kind: 'solicit-endpoint', eid, interfaceName })
    deadlines.set(name, now + INTERVAL_MS)
  }

  return {
    begin(name, sought, now, outputs) {
      searches.set(name, sought)
      ask(name, now, outputs)
    },
    end(name) {
      searches.delete(name)
      deadlines.cancel(name)
    },
    handleDeadline(now, outputs) {
      for (const name of deadlines.due(now)) ask(name, now, outputs)
    },
    deadline: () => deadlines.next(),
  }
}
