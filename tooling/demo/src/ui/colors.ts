import pc from 'picocolors'

export type Colors = ReturnType<typeof pc.createColors>

/** picocolors' own guess is about stdout only, and colours what CI writes to a file. See https://no-color.org. */
export function colorsFor(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Colors {
  return pc.createColors(stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb')
}
