/**
 * What goes along with messages that are pushed past the scripts: see `sender.ts`. It is sent as it is, in a transaction: one that the server has
 * to know beforehand could be unknown when the messages are in their lists already. So it is short, and does not begin as the others do.
 *
 * ARGV: for each list: the key of its queue's options, the incarnation that the queue is to have, the list, how many messages were pushed. Where
 * it has another one, or is gone, takes them out again. Answers with the numbers, from 1, of those lists.
 */
export const CHECK_BULK = `local back = {}
for at = 1, #ARGV, 4 do
  if redis.call('HGET', ARGV[at], 'i') ~= ARGV[at + 1] then
    redis.call('LTRIM', ARGV[at + 2], ARGV[at + 3], -1)
    back[#back + 1] = (at + 3) / 4
  end
end
return back`;
