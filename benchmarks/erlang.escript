#!/usr/bin/env escript
%% One hop to a process, and one restart by a supervisor, each clocked here: erlang.escript hop|restart COUNT ROUNDS
-mode(compile).
-behaviour(supervisor).
-export([init/1, start_child/0]).

-define(CAPACITY, 256).
-define(RESTARTS, 50).

main([What, Count, Rounds]) ->
    io:format("release ~s~n", [erlang:system_info(otp_release)]),
    logger:set_primary_config(level, none),
    N = list_to_integer(Count),
    Measure = case What of "hop" -> fun hops/1; "restart" -> fun restarts/1 end,
    Measure(N),
    [io:format("ns ~.1f~n", [Measure(N)]) || _ <- lists:seq(1, list_to_integer(Rounds))].

timed(Run, N) ->
    Began = erlang:monotonic_time(nanosecond),
    Run(),
    (erlang:monotonic_time(nanosecond) - Began) / N.

hops(N) ->
    Actor = spawn_link(fun() -> count(0) end),
    Batches = max(1, N div ?CAPACITY),
    Figure = timed(fun() -> send(Actor, Batches) end, Batches * ?CAPACITY),
    Actor ! stop,
    Figure.

send(_, 0) -> ok;
send(Actor, Batches) ->
    fill(Actor, ?CAPACITY),
    Actor ! {self(), handled},
    receive {Actor, Handled} when Handled rem ?CAPACITY =:= 0 -> ok end,
    send(Actor, Batches - 1).

fill(_, 0) -> ok;
fill(Actor, Left) -> Actor ! message, fill(Actor, Left - 1).

count(Handled) ->
    receive
        message -> count(Handled + 1);
        {From, handled} -> From ! {self(), Handled}, count(Handled);
        stop -> ok
    end.

%% Few restarts for each supervisor, because it looks through all restarts of its period at each.
restarts(N) ->
    Supervisors = max(1, N div ?RESTARTS),
    lists:sum([restarts_of_one() || _ <- lists:seq(1, Supervisors)]) / Supervisors.

restarts_of_one() ->
    register(watcher, self()),
    {ok, Supervisor} = supervisor:start_link(?MODULE, []),
    First = receive {started, Child} -> Child end,
    Figure = timed(fun() -> crash(First, ?RESTARTS) end, ?RESTARTS),
    unregister(watcher),
    unlink(Supervisor),
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive {'DOWN', Monitor, process, Supervisor, _} -> Figure end.

crash(_, 0) -> ok;
crash(Child, Left) ->
    exit(Child, crash),
    receive {started, Next} -> crash(Next, Left - 1) end.

init([]) ->
    Child = #{id => child, start => {?MODULE, start_child, []}},
    {ok, {#{strategy => one_for_one, intensity => 1000000000, period => 1}, [Child]}}.

start_child() ->
    Pid = spawn_link(fun() -> watcher ! {started, self()}, receive stop -> ok end end),
    {ok, Pid}.
