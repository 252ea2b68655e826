/**
 * What a command is: one row of a table. `main.ts` turns rows into the command line, its help and
 * its errors, so that all commands look and fail alike.
 */
import type { ApiClient } from './api-client.js'
import { CliFailure } from './failure.js'

export interface CliCommand {
  /** `show map-cache`, `move <eid...>`: words, then arguments as commander writes them. */
  readonly usage: string
  readonly summary: string
  readonly options?: readonly (readonly [flags: string, description: string])[]
  readonly examples?: readonly string[]
  /** False for a command that needs no daemon. */
  readonly needsDaemon?: boolean
  readonly run: (context: CommandContext) => Promise<void>
}

export interface CommandContext {
  /** Throws a `CliFailure` if there is no daemon to choose. */
  readonly client: () => ApiClient
  /** Positional arguments; a variadic one is a list. */
  readonly arguments: readonly (string | readonly string[] | undefined)[]
  readonly options: Readonly<Record<string, unknown>>
  readonly json: boolean
  readonly colour: boolean
  readonly print: (text: string) => void
}

/** A numeric option, or undefined when it was not given. Throws a `CliFailure` for other text. */
export function numberOption(context: CommandContext, name: string): number | undefined {
  const given = context.options[name]
  if (given === undefined) return undefined
  const value = Number(given)
  if (given !== '' && Number.isFinite(value) && value >= 0) return value
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  throw new CliFailure(`--${flag} "${String(given)}" is not a number`, 'as 7', 2)
}

/** A text option, or undefined when it was not given. */
export function textOption(context: CommandContext, name: string): string | undefined {
  const given = context.options[name]
  return typeof given === 'string' ? given : undefined
}

/** A query string from the parameters that have a value, with its question mark. */
export function queryString(
  parameters: Readonly<Record<string, string | number | boolean | undefined>>,
): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined)
  const search = new URLSearchParams(
    Object.fromEntries(given.map(([name, value]) => [name, String(value)])),
  )
  return given.length === 0 ? '' : `?${search}`
}
