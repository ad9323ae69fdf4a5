"""The kill campaign: a real monitor killed by SIGKILL again and again on one store, and what it did then.

`python -m tests.crash --kills 25` (or `make crash KILLS=1000`) keeps three things alive: a simulated
CometChat that plays scripted traffic, receivers that take webhooks, Slack messages, a Slack bot's calls and
Alertmanager's alerts and are sometimes in trouble themselves, and this campaign. The monitor between them
dies at every named commit point, inside commits and sends, and at random moments, and is started again on
the same file. In the end each finding of the script must have reached the receiver, none may be invented,
none found twice, and repeats must carry the same id. What lasts must be shown once by the bot, alone and in
its group, be repeated and escalated until somebody has it, and say in the end that it is over.

What was true comes from the script of the traffic and from what the receiver holds in its hands, never
from `rules/` or from the monitor's own words; the store is read with plain SQL once the monitor is gone.

What this does not show: SIGKILL leaves the kernel running, so everything handed to the kernel survives.
Power loss is another thing; whether data was synced to the disk is not tested here.
"""
