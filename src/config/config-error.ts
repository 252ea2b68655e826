/**
 * What an operator gets told about a configuration: where, what is wrong, what to do.
 *
 * All errors of a file are reported at once. A secret's content never gets into one of these.
 */

/** Keys from the root to the place in question: `['rlocs', 0, 'address']`. */
export type ConfigKeys = readonly (string | number)[]

export interface ConfigError {
  /** `rlocs[0].address`; empty for the file as a whole. */
  readonly path: string
  readonly problem: string
  /** What would be right: a range, an example, the nearest valid key. */
  readonly hint: string
  /** Line in the file, from 1; absent when the place does not exist there. */
  readonly line?: number
}

/** A finding before its path is printed and its line looked up. */
export interface Finding {
  readonly keys: ConfigKeys
  readonly problem: string
  readonly hint: string
}

/** `['rlocs', 0, 'address']` as `rlocs[0].address`. */
export function formatConfigPath(keys: ConfigKeys): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === 'number') return `${path}[${key}]`
    return path === '' ? key : `${path}.${key}`
  }, '')
}

/** For people: one block per error, in the order given, with a heading that counts them. */
export function formatConfigErrors(
  file: string,
  errors: readonly ConfigError[],
  word = 'error',
): string {
  const heading = `${file}: ${errors.length} ${word}${errors.length === 1 ? '' : 's'}`
  const blocks = errors.map((error) => {
    const place = error.line === undefined ? '' : ` (line ${error.line})`
    return `  ${error.path || '(file)'}${place}\n    ${error.problem}\n    hint: ${error.hint}`
  })
  return [heading, ...blocks].join('\n\n')
}
