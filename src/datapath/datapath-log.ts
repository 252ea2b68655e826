/**
 * How the datapath speaks of things that are no Event of the node: kebab-case `what`, plain fields.
 */
import type { Severity } from '../control/event.js'

export type DatapathLog = (
  severity: Severity,
  what: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void
